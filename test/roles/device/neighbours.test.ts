import { expect, it } from 'vitest';
import { Bitmap } from '../../../src/core/bitmap.ts';
import { NEIGHBOURS_MAX } from '../../../src/core/limits.ts';
import type { ObjectId } from '../../../src/core/ids.ts';
import type { Seen } from '../../../src/discover/types.ts';
import { LOTS, STAND_INS } from '../../../src/plan/site-limits.ts';
import { Neighbours } from '../../../src/roles/device/neighbours.ts';
import { Traffic } from '../../../src/roles/traffic.ts';
import { ManualClock } from '../../support/manual-clock.ts';

it('of 200 devices at a site each looks at so many, among them those that bring things, and the same of these', async () => {
  const clock = new ManualClock();
  const root = 'ab'.repeat(32) as ObjectId;
  const site: readonly Seen[] = Array.from({ length: 200 }, (_, at) => ({ instance: `device-${String(at)}`, url: `http://127.0.1.${String(at + 1)}:9`, role: 'agent' }));
  let asked = 0;
  const views = site.slice(0, 80).map((self) => new Neighbours({
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
  // Those that bring things and those that would take their places, but for who is one of them itself.
  expect(everywhere).toHaveLength(LOTS + STAND_INS);
  // The others differ: whoever has something is looked at by some.
  expect(new Set(looked.flatMap((names) => [...names])).size).toBeGreaterThan(150);
  for (const view of views) await view.close();
});

/** Twenty devices that see each other. */
async function twenty(clock: ManualClock): Promise<{ readonly site: readonly Seen[]; readonly views: readonly Neighbours[] }> {
  const site: readonly Seen[] = Array.from({ length: 20 }, (_, at) => ({ instance: `device-${String(at)}`, url: `http://127.0.1.${String(at + 1)}:9`, role: 'agent' }));
  const views = site.map((self) => new Neighbours({ hosts: () => [], site: 'hall', self, clock, discovery: { seen: site, ask: () => undefined, close: () => Promise.resolve() }, traffic: new Traffic({}, clock, () => 0) }));
  for (const view of views) await view.refresh();
  return { site, views };
}

it('lets one member after another ask afar for index pages', async () => {
  const clock = new ManualClock();
  const root = 'ab'.repeat(32) as ObjectId;
  const { views } = await twenty(clock);
  const turns = views.map((view) => view.turns(root));
  const may = (): number => turns.filter(({ mayAskForPages }) => mayAskForPages).length;
  // Nobody before it is known who is there; then one by one, and after three seconds all.
  expect(may()).toBe(0);
  clock.advance(1_000);
  for (let each = 1; each <= 12; each++, clock.advance(250)) expect(may()).toBe(each);
  expect(may()).toBe(20);
  for (const view of views) await view.close();
});

it('lets those alone have turns for index pages that want them, where it is known who does', async () => {
  const clock = new ManualClock();
  const root = 'ab'.repeat(32) as ObjectId;
  const { site, views } = await twenty(clock);
  const turns = views.map((view) => view.turns(root));
  const wanting = site.slice(0, 3).map(({ url }) => url);
  const may = (): number => turns.slice(0, 3).filter((each, at) => each.mayAskForPagesBeside(wanting.filter((_, other) => other !== at))).length;
  expect(turns[0]?.mayAskForPagesBeside([])).toBe(false);
  clock.advance(1_000);
  expect(turns.every((each) => each.mayAskForPagesBeside([]))).toBe(true);
  for (let each = 1; each <= 3; each++, clock.advance(250)) expect(may()).toBe(each);
  for (const view of views) await view.close();
});

it('at a large site looks at others instead of those that neither have nor want it', async () => {
  const clock = new ManualClock();
  const root = 'ab'.repeat(32) as ObjectId;
  const site: readonly Seen[] = Array.from({ length: 60 }, (_, at) => ({ instance: `device-${String(at)}`, url: `http://127.0.1.${String(at + 1)}:9`, role: 'agent' }));
  const view = new Neighbours({ hosts: () => [], site: 'hall', self: { instance: 'self', url: 'http://127.0.2.1:9' }, clock, discovery: { seen: site, ask: () => undefined, close: () => Promise.resolve() }, traffic: new Traffic({}, clock, () => 0) });
  await view.refresh();
  const turns = view.turns(root);
  const before = view.sources(root);
  const [uninterested, looking] = [before.slice(0, 3), before.slice(3)];
  const says = { spans: new Bitmap(8), known: false };
  for (const source of uninterested) turns.saw(source, { ...says, working: false }, 1);
  for (const source of looking) turns.saw(source, { ...says, working: true }, 1);
  const after = view.sources(root);
  expect(after).toHaveLength(NEIGHBOURS_MAX);
  expect(after.filter((source) => uninterested.includes(source))).toEqual([]);
  expect(looking.every((source) => after.includes(source))).toBe(true);
  // When they want it after all, they are looked at as before.
  for (const source of uninterested) turns.saw(source, { ...says, known: true, working: true }, 1);
  expect(new Set(view.sources(root))).toEqual(new Set(before));
  await view.close();
});
