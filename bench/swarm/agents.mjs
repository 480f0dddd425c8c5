// Several agents in one process, each with an address, a state directory and sockets of its own: where a machine has not the processors
// to start a process for each. The first argument is a JSON array of what `shoal agent` takes; prints lines as it does, with the number of the device.
import { readFileSync } from 'node:fs';
import { startAgent } from '../../dist/roles/agent/agent.js';
import { expectLargeBuffers } from '../../dist/kernel/heap.js';

expectLargeBuffers();
const running = [];
for (const { device, output, trust, address, port, poll, origin, identity, state, gentle } of JSON.parse(process.argv[2])) {
  const say = (line) => { console.log(JSON.stringify({ device, ...line })); };
  const agent = await startAgent({
    products: [{ product: 'firmware', output, bases: [] }],
    origin, state, version: 'bench', trustedRoot: readFileSync(trust), listen: { host: address, port }, pollMs: poll * 1000, mdns: { interface: address },
    ...(identity === undefined ? { insecureHttp: true } : { identity }),
    ...(gentle === undefined ? {} : { traffic: { gentle } }),
    onEvent: (event) => {
      if (event.event === 'updating') say({ event: 'updating', version: event.version });
      else if (event.event === 'installed') say({ event: 'installed', version: event.manifest.version, ledger: event.ledger });
    },
  });
  running.push(agent);
  say({ event: 'ready', url: agent.url });
}
process.on('SIGTERM', () => {
  void Promise.all(running.map((agent) => agent.close())).then(() => process.exit(0));
});
