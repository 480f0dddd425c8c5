/**
 * `npm run demo`: two real consecutive releases of a real program, from the publisher's key to eight devices behind one
 * gateway, every role a process of its own. Prints where the bytes came from. Leaves nothing behind, also on Ctrl-C.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Processes } from './processes.ts';
import type { Server } from './processes.ts';
import { releases } from './releases.ts';
import type { Ledger } from '../src/index.ts';

const DEVICES = 8;

interface Installed {
  readonly version: string;
  readonly ledger: Ledger;
  readonly artifacts: readonly { readonly root: string; readonly path: string }[];
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2).padStart(8);

/** Waits until the agent has installed `version`. */
async function installed(agent: Server, version: string): Promise<Installed> {
  for (;;) {
    const line = await agent.next();
    if (line['event'] === 'installed' && line['version'] === version) return line as unknown as Installed;
  }
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256').update(await readFile(path)).digest('hex');
}

function printDevices(devices: readonly Installed[]): void {
  console.log('device    local    delta     peer  gateway   origin  control  written  seconds  (MB)  verified root');
  for (const [device, { ledger, artifacts }] of devices.entries()) {
    const cells = [ledger.local, ledger.delta, ledger.peer, ledger.gateway, ledger.origin, ledger.control, ledger.written].map(megabytes).join(' ');
    console.log(`${String(device).padStart(6)} ${cells} ${ledger.seconds.toFixed(2).padStart(8)}        ${artifacts[0]?.root.slice(0, 16) ?? ''}…`);
  }
}

async function demo(processes: Processes, folder: string): Promise<void> {
  const home = join(folder, 'home');
  await processes.run('init', '--home', home);
  const trust = join(home, 'trust', 'root.json');
  const origin = await processes.serve('origin', '--home', home);
  // Everyone asks for news every second instead of every five minutes: here the second release follows at once.
  const gateway = await processes.serve('gateway', '--origin', origin.url, '--cache', join(folder, 'gateway'), '--poll', '1');
  let agents: readonly Server[] = [];
  let whole = 0;
  let direct = 0;
  for (const { version, path } of releases) {
    // The agents are waiting: with its deltas made first none of them fetches content for having asked a second too early.
    const published = await processes.run('publish', path, '--name', 'esbuild', '--version', version, '--home', home);
    const started = performance.now();
    if (agents.length === 0) {
      agents = await Promise.all(Array.from({ length: DEVICES }, (_, device) => {
        const at = join(folder, `device-${String(device)}`);
        return processes.serve('agent', `esbuild=${at}.wasm`, '--origin', origin.url, '--gateway', gateway.url, '--trust', trust, '--state', at, '--poll', '1');
      }));
    }
    const devices = await Promise.all(agents.map((agent) => installed(agent, version)));
    const seconds = (performance.now() - started) / 1000;
    const expected = await sha256(path);
    for (const { artifacts } of devices) {
      if ((await sha256(artifacts[0]?.path ?? '')) !== expected) throw new Error(`${artifacts[0]?.path ?? 'a device'} has other bytes than were published`);
    }
    const { size } = await stat(path);
    console.log(`\nesbuild ${version}: ${megabytes(size).trim()} MB, ${megabytes(Number(published['addedBytes'])).trim()} MB new to the origin's store`);
    printDevices(devices);
    console.log(`All ${String(DEVICES)} devices have it, verified, ${seconds.toFixed(1)} s after it was published.`);
    direct += devices.reduce((sum, { ledger }) => sum + ledger.origin + ledger.deltaFrom.origin, 0);
    whole += size * DEVICES;
  }
  for (const agent of agents) await agent.stop();
  const { upstream } = (await gateway.stop())['ledger'] as { readonly upstream: { readonly content: number; readonly control: number } };
  const crossed = upstream.content + direct;
  console.log(`\nBackhaul, both releases: ${megabytes(crossed).trim()} MB of content and ${megabytes(upstream.control).trim()} MB of control, once for ${String(DEVICES)} devices.`);
  console.log(`A plain download by each device would have been ${megabytes(whole).trim()} MB: ${(whole / crossed).toFixed(1)} times as much.`);
  await origin.stop();
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-demo-'));
const processes = new Processes();
let interrupted = false;
const cleanUp = async (): Promise<void> => {
  processes.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    void cleanUp().then(() => process.exit(130));
  });
}
try {
  await demo(processes, folder);
} catch (error) {
  if (!interrupted) {
    console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  await cleanUp();
}
