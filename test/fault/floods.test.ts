import { afterAll, describe, expect, it } from 'vitest';
import { CONNECT_TIMEOUT_MS } from '../../src/core/limits.ts';
import { flood, percentile } from '../support/flooded.ts';
import { siteToFlood } from '../support/flood-hosts.ts';
import { Processes } from '../support/processes.ts';

const processes = new Processes();
afterAll(() => processes.close());

// The two floods that cost most, on the host that has least; floods.long.test.ts has the others.
describe.skipIf(process.platform !== 'linux')('an agent among floods', () => {
  it('stays within the memory of a small device and answers others', async () => {
    const { hosts, pagePath } = await siteToFlood(processes);
    for (const name of ['pipelined requests', 'requests whose answers nobody reads']) {
      const { peak, times } = await flood(name, hosts.agent, pagePath, 1_500);
      expect(peak).toBeLessThan(256_000_000);
      // Flood, host and client share the machine with other tests: not longer than a client waits for a connection.
      expect(percentile(times, 0.95)).toBeLessThan(CONNECT_TIMEOUT_MS);
    }
  });
});
