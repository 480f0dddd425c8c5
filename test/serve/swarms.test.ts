import { describe, expect, it } from 'vitest';
import { SWARM_INTERVAL_S, SWARM_MAX_PEERS, SWARM_MAX_TOLD, SWARM_MAX_TORRENTS, SWARM_PEERS_PER_ADDRESS } from '../../src/core/limits.ts';
import { Swarms } from '../../src/serve/swarms.ts';
import type { Announce } from '../../src/serve/swarms.ts';

const HASH = 'ab'.repeat(20);
const announce = (more: Partial<Announce>): Announce => ({ infoHash: HASH, peerId: '00'.repeat(20), address: '10.0.0.1', port: 6881, complete: false, stopped: false, wanted: 50, ...more });
const told = ({ peers }: { readonly peers: Uint8Array }): string[] => Array.from({ length: peers.byteLength / 6 }, (_, at) => [...peers.subarray(at * 6, at * 6 + 6)].join('.'));

describe('a tracker', () => {
  it('tells clients of each other, never of themselves, and forgets who goes or does not come back', () => {
    let now = 0;
    const swarms = new Swarms(() => now);
    expect(told(swarms.announce(announce({})))).toEqual([]);
    expect(told(swarms.announce(announce({})))).toEqual([]);
    expect(told(swarms.announce(announce({ address: '10.0.0.2', port: 258, complete: true })))).toEqual(['10.0.0.1.26.225']);
    expect(told(swarms.announce(announce({})))).toEqual(['10.0.0.2.1.2']);
    // Who has all of it has no use for others who have.
    expect(told(swarms.announce(announce({ address: '10.0.0.3', complete: true })))).toEqual(['10.0.0.1.26.225']);
    expect(swarms.counts(HASH)).toEqual({ complete: 2, incomplete: 1 });
    swarms.announce(announce({ address: '10.0.0.2', port: 258, stopped: true }));
    expect(swarms.counts(HASH)).toEqual({ complete: 1, incomplete: 1 });
    now = SWARM_INTERVAL_S * 2_500;
    expect(swarms.announce(announce({ address: '10.0.0.9' }))).toMatchObject({ complete: 0, incomplete: 1, peers: Buffer.alloc(0) });
  });

  it('keeps within its bounds, whoever announces how much', () => {
    const swarms = new Swarms(() => 0);
    for (let at = 0; at < SWARM_MAX_PEERS + 100; at++) swarms.announce(announce({ address: `10.1.${String(at >> 8)}.${String(at & 255)}` }));
    expect(swarms.counts(HASH).incomplete).toBe(SWARM_MAX_PEERS);
    expect(told(swarms.announce(announce({ wanted: 9_999 })))).toHaveLength(SWARM_MAX_TOLD);
    expect(told(swarms.announce(announce({ wanted: 0 })))).toHaveLength(0);
    // Made-up peer ids from one address and port are one client.
    for (let at = 0; at < 10; at++) swarms.announce(announce({ infoHash: '01'.repeat(20), peerId: String(at).repeat(40) }));
    expect(swarms.counts('01'.repeat(20)).incomplete).toBe(1);
    // Made-up ports take the places of their own address alone.
    for (let port = 1; port < 1_000; port++) swarms.announce(announce({ infoHash: '02'.repeat(20), port }));
    expect(swarms.counts('02'.repeat(20)).incomplete).toBe(SWARM_PEERS_PER_ADDRESS);
    for (let at = 0; at < SWARM_MAX_PEERS - SWARM_PEERS_PER_ADDRESS; at++) swarms.announce(announce({ infoHash: '03'.repeat(20), address: `10.1.${String(at >> 8)}.${String(at & 255)}` }));
    for (let port = 1; port < 1_000; port++) swarms.announce(announce({ infoHash: '03'.repeat(20), address: '10.9.9.9', port }));
    expect(swarms.counts('03'.repeat(20)).incomplete).toBe(SWARM_MAX_PEERS);
    expect(told(swarms.announce(announce({ infoHash: '03'.repeat(20), address: '10.9.9.9', port: 1, stopped: true })))).toEqual([]);
    for (let at = 0; at < SWARM_MAX_TORRENTS; at++) swarms.announce(announce({ infoHash: at.toString(16).padStart(40, '0') }));
    expect(swarms.counts(HASH).incomplete).toBe(0);
    // Addresses of version 6 have no place in a compact answer (BEP 23).
    swarms.announce(announce({ infoHash: HASH, address: '2001:db8::1' }));
    expect(swarms.counts(HASH).incomplete).toBe(0);
  });
});
