import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { Bitmap } from '../../../src/core/bitmap.ts';
import { NEIGHBOURS_MAX } from '../../../src/core/limits.ts';
import type { ObjectId } from '../../../src/core/ids.ts';
import type { Seen } from '../../../src/discover/types.ts';
import { LOTS } from '../../../src/plan/site.ts';
import { Neighbours } from '../../../src/roles/device/neighbours.ts';
import { Traffic } from '../../../src/roles/traffic.ts';
import { ManualClock } from '../../support/manual-clock.ts';

it('of 200 devices at a site each looks at so many, among them those that bring things, and the same of these', async () => {
  const clock = new ManualClock();
  const root = 'ab'.repeat(32) as ObjectId;
  const site: readonly Seen[] = Array.from({ length: 200 }, (_, at) => ({ instance: randomUUID(), url: `http://127.0.1.${String(at + 1)}:9`, role: 'agent' }));
  let asked = 0;
  const views = site.slice(0, 40).map((self) => new Neighbours({
    hosts: () => [], site: 'hall', self, clock,
    discovery: { seen: site, ask: () => { asked++; }, close: () => Promise.resolve() },
    traffic: new Traffic({}, clock, () => 0),
  }));
  const looked: ReadonlySet<string>[] = [];
  for (const view of views) {
    await view.refresh();
    expect(view.members).toHaveLength(site.length - 1);
    const sources = view.sources(root);
    expect(sources).toHaveLength(NEIGHBOURS_MAX);
    // Worked out once, however often the planner asks: 199 names ranked for each of the lots.
    expect(view.sources(root).map(({ name }) => name)).toEqual(sources.map(({ name }) => name));
    looked.push(new Set(sources.map(({ name }) => name)));
  }
  expect(asked).toBe(views.length);
  const everywhere = site.map(({ url }) => url).filter((url) => looked.filter((names) => names.has(url)).length >= views.length - 1);
  // Those that bring something, but for who is one of them itself; a lot or two may fall to the same one.
  expect(everywhere.length).toBeGreaterThanOrEqual(LOTS - 3);
  expect(everywhere.length).toBeLessThanOrEqual(LOTS);
  // The others differ: whoever has something is looked at by some.
  expect(new Set(looked.flatMap((names) => [...names])).size).toBeGreaterThan(150);
  for (const view of views) await view.close();
});

it('looks at everybody in turn until it is known who wants it, and goes on looking at these', async () => {
  const clock = new ManualClock();
  const root = 'cd'.repeat(32) as ObjectId;
  const site: readonly Seen[] = Array.from({ length: 60 }, (_, at) => ({ instance: `member-${String(at)}`, url: `http://127.0.1.${String(at + 1)}:9`, role: 'agent' }));
  const view = new Neighbours({
    hosts: () => [], site: 'hall', self: { instance: 'self', url: 'http://127.0.2.1:9' }, clock,
    discovery: { seen: site, ask: () => undefined, close: () => Promise.resolve() },
    traffic: new Traffic({}, clock, () => 0),
  });
  await view.refresh();
  const turns = view.turns(root);
  // One of those at whom nobody looks to begin with has set out; all others have not heard of it.
  const wanting = site.map(({ url }) => url).find((url) => !view.sources(root).some(({ name }) => name === url));
  const asked = new Set<string>();
  let rounds = 0;
  while (asked.size < site.length && rounds++ < 20) {
    for (const source of view.sources(root)) {
      asked.add(source.name);
      turns.saw(source, { spans: new Bitmap(10), working: true, known: source.name === wanting });
    }
    clock.advance(250);
  }
  expect(asked.size).toBe(site.length);
  // Eight are always looked at, and seven others at a time once one is known to want it.
  expect(rounds).toBeLessThanOrEqual(9);
  for (let round = 0; round < 10; round++) {
    expect(view.sources(root).map(({ name }) => name)).toContain(wanting);
    for (const source of view.sources(root)) turns.saw(source, { spans: new Bitmap(10), working: true, known: source.name === wanting });
    clock.advance(250);
  }
  await view.close();
});
