import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { flood, percentile } from '../support/flooded.ts';
import { siteToFlood } from '../support/flood-hosts.ts';
import type { FloodedSite, Role } from '../support/flood-hosts.ts';
import { FLOODS } from '../support/floods.ts';
import { Processes } from '../support/processes.ts';

// Real hosts under the load that one hostile address can make, and somebody honest beside it: what it costs is measured.

/** A device with 256 MB has to live through all of this, an origin with twice that. */
const MOST_MEMORY = { agent: 256_000_000, gateway: 400_000_000, origin: 400_000_000 } as const;
/** Far from the milliseconds of a quiet host, far below what anybody gives up at: flood, host and client share two cores. */
const MOST_MS = 2_000;
const FLOOD_MS = 4_000;

const processes = new Processes();
let site: FloodedSite;

beforeAll(async () => {
  site = await siteToFlood(processes);
}, 120_000);
afterAll(() => processes.close());

describe.skipIf(process.platform !== 'linux').each(Object.entries(MOST_MEMORY) as [Role, number][])('an %s among floods', (role, mostMemory) => {
  it.each(Object.keys(FLOODS))('of %s stays within its memory and answers others', async (name) => {
    const { peak, times } = await flood(name, site.hosts[role], site.pagePath, FLOOD_MS);
    expect(peak).toBeLessThan(mostMemory);
    expect(percentile(times, 0.95)).toBeLessThan(MOST_MS);
  }, 120_000);
});
