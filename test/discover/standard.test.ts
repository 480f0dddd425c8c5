import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { startMdns } from '../../src/discover/mdns.ts';
import { pythonWith } from '../support/needs.ts';

/** Lists what is announced of a service type on one interface, as any DNS-SD browser would: one JSON line, as soon as something is resolved. */
const BROWSE = `
import json, queue, sys
from zeroconf import ServiceBrowser, Zeroconf
found = queue.Queue()
class Listener:
    def add_service(self, zeroconf, kind, name): found.put((kind, name))
    def update_service(self, *rest): pass
    def remove_service(self, *rest): pass
zeroconf = Zeroconf(interfaces=[sys.argv[1]])
ServiceBrowser(zeroconf, sys.argv[2], Listener())
wanted = sys.argv[3]
while True:
    kind, name = found.get(timeout=30)
    info = zeroconf.get_service_info(kind, name, 10000)
    if info and name.startswith(wanted):
        print(json.dumps({'name': name, 'addresses': info.parsed_addresses(), 'port': info.port, 'server': info.server, 'text': {key.decode(): (value or b'').decode() for key, value in info.properties.items()}}))
        break
zeroconf.close()
`;

const python = pythonWith('zeroconf');

it.skipIf(python === undefined)('a host is seen by a standard browser of multicast DNS: a random name, where it listens, its role, and nothing of products', async () => {
  const instance = randomUUID();
  // The port that standard tools know; on loopback, where nobody else hears it.
  const host = await startMdns({ instance, port: 8472, role: 'agent', interface: '127.0.0.1', secure: true, clock: systemClock });
  try {
    const { stdout } = await promisify(execFile)(python ?? '', ['-c', BROWSE, '127.0.0.1', '_shoal._tcp.local.', instance], { timeout: 60_000 });
    expect(JSON.parse(stdout)).toEqual({
      name: `${instance}._shoal._tcp.local.`, addresses: ['127.0.0.1'], port: 8472, server: `${instance}.local.`,
      text: { txtvers: '1', role: 'agent', tls: '1' },
    });
  } finally {
    await host.close();
  }
});
