import { describe, expect, it } from 'vitest';
import { PEERS_MAX } from '../../src/core/limits.ts';
import { Crowd, NAMES_PER_ADDRESS, NEW_NAME_MS } from '../../src/discover/crowd.ts';
import type { Seen } from '../../src/discover/types.ts';
import { ManualClock } from '../support/manual-clock.ts';

const LIFE_MS = 120_000;
const at = (instance: string, address: string, port = 8472): Seen => ({ instance, url: `https://${address}:${String(port)}`, role: 'agent' });
const names = (crowd: Crowd): string[] => crowd.seen.map(({ instance }) => instance).sort();

describe('who says on a link that he is there', () => {
  it('is there for as long as he said, or until he says goodbye', () => {
    const clock = new ManualClock();
    const crowd = new Crowd(clock);
    crowd.heard(at('a', '10.0.0.1'), '10.0.0.1', LIFE_MS);
    crowd.heard(at('b', '10.0.0.2'), '10.0.0.2', LIFE_MS);
    crowd.left('b', '10.0.0.2');
    expect(names(crowd)).toEqual(['a']);
    clock.advance(LIFE_MS / 2);
    crowd.heard(at('a', '10.0.0.1'), '10.0.0.1', LIFE_MS);
    clock.advance(LIFE_MS - 1);
    expect(names(crowd)).toEqual(['a']);
    clock.advance(1);
    expect(names(crowd)).toEqual([]);
    // And may come back at once.
    crowd.heard(at('a', '10.0.0.1'), '10.0.0.1', LIFE_MS);
    expect(names(crowd)).toEqual(['a']);
  });

  it('cannot end, move or push out anybody else', () => {
    const crowd = new Crowd(new ManualClock());
    const honest = Array.from({ length: 200 }, (_, each) => [`honest-${String(each)}`, `10.0.1.${String(each)}`] as const);
    for (const [name, address] of honest) crowd.heard(at(name, address), address, LIFE_MS);
    for (const [name] of honest) {
      crowd.left(name, '10.9.9.9');
      crowd.heard(at(name, '10.9.9.9'), '10.9.9.9', LIFE_MS);
    }
    for (let each = 0; each < 20_000; each++) crowd.heard(at(`liar-${String(each)}`, '10.9.9.9', 1 + (each % 60_000)), '10.9.9.9', LIFE_MS);
    expect(crowd.seen.filter(({ instance }) => instance.startsWith('honest')).map(({ url }) => url).sort()).toEqual(honest.map(([, address]) => `https://${address}:8472`).sort());
    expect(crowd.size).toBe(200 + NAMES_PER_ADDRESS);
    // Twenty addresses are more than the list holds: it is they that make room.
    for (let each = 0; each < 20_000; each++) {
      const address = `10.9.8.${String(each % 20)}`;
      crowd.heard(at(`more-${String(each)}`, address, 1 + each), address, LIFE_MS);
    }
    expect(crowd.size).toBe(PEERS_MAX);
    expect(crowd.seen.filter(({ instance }) => instance.startsWith('honest'))).toHaveLength(200);
  });

  it('is not new again and again, under other names or at other ports', () => {
    const clock = new ManualClock();
    const crowd = new Crowd(clock);
    const met = new Set<string>();
    for (let second = 0; second < 600; second++) {
      clock.advance(1_000);
      crowd.heard(at(`same-port-${String(second)}`, '10.9.9.9'), '10.9.9.9', LIFE_MS);
      for (const name of names(crowd)) met.add(name);
      crowd.left(`same-port-${String(second)}`, '10.9.9.9');
    }
    expect(met.size).toBeLessThanOrEqual(600_000 / NEW_NAME_MS + 1);
    met.clear();
    for (let second = 0; second < 600; second++) {
      clock.advance(1_000);
      crowd.heard(at(`port-${String(second)}`, '10.9.9.8', 1 + second), '10.9.9.8', LIFE_MS);
      for (const name of names(crowd)) met.add(name);
    }
    expect(met.size).toBeLessThanOrEqual(NAMES_PER_ADDRESS + 600_000 / NEW_NAME_MS + 1);
  });

  it('may begin anew under another name, once in a while', () => {
    const clock = new ManualClock();
    const crowd = new Crowd(clock);
    crowd.heard(at('before', '10.0.0.1'), '10.0.0.1', LIFE_MS);
    clock.advance(NEW_NAME_MS);
    crowd.heard(at('after', '10.0.0.1'), '10.0.0.1', LIFE_MS);
    expect(names(crowd)).toEqual(['after']);
  });
});
