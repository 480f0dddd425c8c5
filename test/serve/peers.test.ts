import { describe, expect, it } from 'vitest';
import type { ObjectId } from '../../src/core/ids.ts';
import { ANNOUNCED_BY_DEVICE, ANNOUNCED_MAX, ANNOUNCE_MAX_ROOTS, ANNOUNCE_TTL_MS, PEERS_MAX } from '../../src/core/limits.ts';
import type { Peer } from '../../src/serve/peers.ts';
import { PeerRegistry } from '../../src/serve/peers.ts';

const ROOTS = Array.from({ length: ANNOUNCE_MAX_ROOTS }, (_, at) => at.toString(16).padStart(64, '0') as ObjectId);
const peer = (instance: string, roots = 0): Peer => ({ instance, url: `https://${instance}.example`, roots: ROOTS.slice(0, roots) });
const names = (peers: readonly Peer[]): string[] => peers.map(({ instance }) => instance);

describe('the list of who is at a site', () => {
  it('keeps what was announced for five minutes, of a site the newest', () => {
    let now = 0;
    const list = new PeerRegistry(() => now);
    for (let at = 0; at < PEERS_MAX + 3; at++) list.announce('hall', peer(`p${String(at)}`));
    expect(list.at('hall')).toHaveLength(PEERS_MAX);
    expect(names(list.at('hall'))[0]).toBe('p3');
    now = ANNOUNCE_TTL_MS;
    expect(list.at('hall')).toEqual([]);
  });

  it('is no memory for whoever announces a million roots at sites that he makes up', () => {
    const list = new PeerRegistry(() => 0);
    const most = Math.floor(ANNOUNCED_MAX / (1 + ANNOUNCE_MAX_ROOTS));
    for (let at = 0; at < 5_000; at++) list.announce(`site-${String(at)}`, peer('a', ANNOUNCE_MAX_ROOTS));
    const kept = Array.from({ length: 5_000 }, (_, at) => list.at(`site-${String(at)}`).length).filter((count) => count > 0).length;
    expect(kept).toBe(most);
    expect(list.at('site-4999')).toHaveLength(1);
    // What is taken back, runs out or is said anew gives its room back.
    for (let turn = 0; turn < 3; turn++) for (let at = 0; at < most; at++) list.announce(`other-${String(at)}`, peer('a', ANNOUNCE_MAX_ROOTS));
    expect(list.at('other-0')).toHaveLength(1);
  });

  it('lets no device push the others of its site out by names that it makes up', () => {
    const list = new PeerRegistry(() => 0);
    for (let at = 0; at < 20; at++) list.announce('hall', peer(`honest-${String(at)}`), `device-${String(at)}`);
    for (let at = 0; at < 10_000; at++) list.announce('hall', peer(`liar-${String(at)}`), 'liar');
    expect(names(list.at('hall')).filter((name) => name.startsWith('honest'))).toHaveLength(20);
    expect(list.at('hall')).toHaveLength(20 + ANNOUNCED_BY_DEVICE);
    // Nor change what they said.
    expect(list.announce('hall', peer('honest-3', 1), 'liar')).toBe(false);
  });
});
