import { describe, expect, it } from 'vitest';
import { ALL_BUSY_TIMES, ANSWER_MS, JOIN_MS, LOOKING_MS, LOTS, SLOW_TIMES_MOST, STAND_INS, STAND_IN_MS, TAKE_OVER_MS, UNDECIDED_MS, UNHEARD_MS, WIDTH, WORK_UNSEEN_MS } from '../../src/plan/site-limits.ts';
import { bringersFirst, lookAt } from '../../src/plan/look.ts';
import { SiteTurns } from '../../src/plan/site.ts';
import type { Member } from '../../src/plan/site-member.ts';
import { fc } from '../support/property.ts';

const ROOT = 'ab'.repeat(32);
const member = (instance: string, weight = 1, bytes = Infinity): Member => ({ instance, weight, bytes });

function turnsOf(self: string, others: readonly string[], now: () => number = () => 0): SiteTurns {
  const turns = new SiteTurns(member(self), ROOT, now);
  turns.members(others.map((each) => member(each)));
  return turns;
}

describe('the turns of a site', () => {
  it('give every span to exactly one of the members that know each other', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 20 }), fc.nat(100_000), (names, span) => {
        const owners = names.filter((self) => turnsOf(self, names).mine(span));
        expect(owners).toHaveLength(1);
      }),
    );
  });

  it('share the work evenly, or by weight, over many artifacts', () => {
    const roots = Array.from({ length: 1_000 }, (_, at) => `root-${String(at)}`);
    const share = (self: Member, others: readonly Member[]): number => {
      const mine = roots.map((root) => {
        const turns = new SiteTurns(self, root, () => 0);
        turns.members(others);
        return Array.from({ length: LOTS }, (_, span) => turns.mine(span)).filter(Boolean).length;
      });
      return mine.reduce((sum, each) => sum + each, 0);
    };
    const all = roots.length * LOTS;
    const names = ['a', 'b', 'c', 'd'].map((name) => member(name));
    // Five standard deviations around a quarter, and around a tenth.
    for (const self of names) expect(Math.abs(share(self, names) - all / 4)).toBeLessThan(5 * Math.sqrt(all * 0.25 * 0.75));
    expect(Math.abs(share(member('light', 0.1), [member('heavy', 0.9)]) - all / 10)).toBeLessThan(5 * Math.sqrt(all * 0.1 * 0.9));
  });

  it('move only what was a leaving member\'s', () => {
    const [all, fewer] = [turnsOf('a', ['b', 'c', 'd']), turnsOf('a', ['b', 'c'])];
    for (let span = 0; span < 1_000; span++) if (all.mine(span)) expect(fewer.mine(span)).toBe(true);
  });

  it('pass on from a member that shows no sign of life, and come back when it does', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const span = Array.from({ length: 100 }, (_, each) => each).find((each) => !turns.mine(each)) ?? -1;
    now = TAKE_OVER_MS + 1;
    expect(turns.mine(span)).toBe(true);
    expect(turns.othersAtWork).toBe(false);
    turns.saw('b', { held: 1, working: false });
    expect(turns.mine(span)).toBe(false);
    expect(turns.othersAtWork).toBe(true);
  });

  it('are stood in for at last where a member cannot be reached: it may be bringing them in the other half of a LAN that is cut', () => {
    let now = 0;
    const turns = turnsOf('a', ['b', 'c'], () => now);
    const count = 48;
    const all = Array.from({ length: count }, (_, each) => each);
    const own = all.filter((each) => turns.mine(each));
    expect(all.filter((each) => turns.standsIn(each))).toEqual([]);
    const held = new Set<number>();
    const hear = (): void => { turns.saw('c', { held: held.size, working: true, has: (span) => held.has(span), count }); };
    for (now = 1_000; now <= TAKE_OVER_MS + 1_000; now += 1_000) hear();
    // Nobody has heard of b for ten seconds; there is still enough of this device's own.
    expect(all.filter((each) => turns.mine(each))).toEqual(own);
    expect(own.filter((each) => turns.standsIn(each))).toEqual([]);
    // All that is for the two to bring is here, or on its way: now that of b is divided.
    for (const span of own) turns.brings(span);
    const withoutB = turnsOf('c', ['a']);
    const theirs = turnsOf('c', ['a', 'b']);
    for (const span of all) if (theirs.mine(span)) held.add(span);
    now += 1_000;
    hear();
    const stood = all.filter((each) => turns.mine(each) && !own.includes(each));
    expect(stood.length).toBeGreaterThan(0);
    expect(stood).toEqual(all.filter((each) => !own.includes(each) && !held.has(each) && !withoutB.mine(each)));
    expect(stood.every((each) => turns.standsIn(each))).toBe(true);
  });

  it('are stood in for after a while though there is enough else to bring', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const theirs = Array.from({ length: LOTS }, (_, each) => each).filter((each) => !turns.mine(each));
    turns.saw('b', { held: 1, working: true, has: (span) => span === LOTS, count: 10 * LOTS });
    now = STAND_IN_MS;
    expect(theirs.filter((each) => turns.mine(each))).toEqual([]);
    now = STAND_IN_MS + 1;
    expect(theirs.filter((each) => turns.mine(each))).toEqual(theirs);
  });

  it('of another one are taken by who has nothing of its own left, from the end, and never what the other may begin before both have heard of each other', () => {
    let now = 0;
    const count = 20 * LOTS;
    const all = Array.from({ length: count }, (_, each) => each);
    const turns = turnsOf('a', ['b'], () => now);
    turns.spans(count);
    const own = all.filter((each) => turns.mine(each));
    const theirs = all.filter((each) => !own.includes(each));
    expect(theirs.length).toBeGreaterThan(2 * LOTS);
    // Its own come one after another: it begins at the front.
    expect(own.map((each) => turns.comesAfter(each)).toSorted((one, other) => one - other)).toEqual(own.map((each) => turns.comesAfter(each)));
    expect(turns.comesAfter(own[0] ?? -1)).toBe(0);
    const bringing = theirs.slice(0, 1);
    const hear = (held: readonly number[]): void => {
      turns.answered('b', 0);
      turns.saw('b', { held: held.length, has: (span) => held.includes(span), working: true, count, bringing });
    };
    hear([]);
    for (const span of own) turns.has(span, 8_000);
    now = 8_000;
    // Nobody knows yet how fast b is.
    hear([]);
    expect(theirs.filter((each) => turns.mine(each))).toEqual([]);
    now = 16_000;
    const first = bringing.splice(0, 1, theirs[1] ?? -1);
    hear(first);
    const taken = theirs.filter((each) => turns.mine(each));
    expect(taken.length).toBeGreaterThan(0);
    // What b begins with in the time of two questions stays its own, and so does all but the last of each lot.
    for (const span of taken) expect(theirs.slice(2).indexOf(span)).toBeGreaterThan(0);
    expect(new Set(taken.map((span) => span % LOTS)).size).toBe(taken.length);
    // Enough is under way.
    bringing.push(...theirs.slice(2, 2 + WIDTH));
    hear(first);
    now += 1_000;
    expect(theirs.filter((each) => turns.mine(each))).toEqual([]);
  });

  it('of those that have not set out yet are taken by the first that has, where there is much to bring and no delta', () => {
    const count = 4 * LOTS;
    const all = Array.from({ length: count }, (_, each) => each);
    const of = (bytes: number): readonly number[] => {
      let now = 0;
      const turns = new SiteTurns(member('a', 1, bytes), ROOT, () => now);
      turns.spans(count);
      turns.members(['b', 'c', 'd', 'e'].map((instance) => ({ instance, weight: 1, joined: false, looking: true, asked: true })));
      const own = all.filter((each) => turns.mine(each));
      for (const span of own) turns.has(span, 1_000);
      now = 1_000;
      return all.filter((each) => !own.includes(each) && turns.mine(each));
    };
    expect(of(Infinity).length).toBeGreaterThan(0);
    expect(of(100_000)).toEqual([]);
  });

  it('are not held up by one that never answers, under whatever new names', () => {
    let now = 0;
    const turns = new SiteTurns(member('a'), ROOT, () => now);
    let begun: number | undefined;
    for (; now < 120_000 && begun === undefined; now += 1_000) {
      const fakes = Array.from({ length: 20 }, (_, at) => ({ instance: `fake-${String(at)}-${String(now)}`, weight: 1, asked: false, joined: false, met: false }));
      turns.members(fakes);
      for (const { instance } of fakes) turns.late(instance);
      if (Array.from({ length: LOTS }, (_, span) => span).every((span) => turns.mine(span))) begun = now;
    }
    // Most of them late: that may be this device's own fault, which is given its time once.
    expect(begun).toBeLessThanOrEqual(ALL_BUSY_TIMES * TAKE_OVER_MS + 1_000);
  });

  it('are left to the other by one of two that bring the same, the same in the eyes of both', () => {
    fc.assert(fc.property(fc.uuid(), fc.uuid(), fc.nat(1_000), (one, other, span) => {
      fc.pre(one !== other);
      const yields = [turnsOf(one, [other]), turnsOf(other, [one])].map((turns, at) => {
        turns.brings(span);
        expect(turns.yields(span)).toBe(false);
        turns.saw(at === 0 ? other : one, { held: 0, working: true, bringing: [span], count: 1_001 });
        return turns;
      });
      expect(yields.filter((turns) => turns.yields(span))).toHaveLength(1);
      // Who leaves it knows that the other one is bringing it.
      const [left] = yields.filter((turns) => turns.yields(span));
      left?.ceases(span);
      expect(left?.mine(span)).toBe(false);
    }));
  });

  it('go by what members say they are bringing, though another one boasts that it has everything', () => {
    let now = 0;
    const turns = turnsOf('a', ['b', 'boaster'], () => now);
    const span = Array.from({ length: LOTS }, (_, each) => each).find((each) => turns.mine(each)) ?? -1;
    turns.saw('boaster', { held: 100, working: true, has: () => true, count: 100 });
    turns.saw('b', { held: 0, working: true, bringing: [span], has: () => false, count: 100 });
    expect(turns.mine(span)).toBe(false);
    // What it showed is forgotten with it: who shows the same later is the first to have brought something.
    turns.caught('boaster');
    now = 1_000;
    turns.saw('b', { held: 1, working: true, has: (each) => each === span, count: 100 });
    expect(turns.bringers).toBe(1);
    turns.saw('boaster', { held: 100, working: true, bringing: [span + 1], has: () => true, count: 100 });
    expect(turns.bringers).toBe(1);
  });

  it('wait for one that says it works, but not for words alone for ever', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const all = Array.from({ length: 100 }, (_, each) => each);
    const theirs = all.filter((each) => !turns.mine(each));
    // Nobody has shown how long a span takes: this one tries one, and no more, however long it is waited.
    const tried = new Set<number>();
    for (; now < WORK_UNSEEN_MS; now += 1_000) {
      turns.saw('b', { held: 0, working: true, count: 100 });
      for (const each of theirs) if (turns.mine(each)) tried.add(each);
    }
    expect(tried.size).toBe(1);
    // Now it is known.
    turns.has(theirs[0] ?? -1, 2_000);
    turns.saw('b', { held: 0, working: true, count: 100 });
    expect(all.every((each) => turns.mine(each))).toBe(true);
  });

  it('wait for one that is slow where all are, and not where the others are not', () => {
    for (const [took, waits] of [[60_000, true], [2_000, false]] as const) {
      let now = 0;
      const turns = turnsOf('a', ['b', 'c'], () => now);
      const theirs = Array.from({ length: 100 }, (_, each) => each).filter((each) => !turnsOf('a', ['b']).mine(each) && turnsOf('a', ['c']).mine(each));
      turns.has(200, took);
      const brought = new Set<number>();
      for (; now < 100_000; now += 1_000) {
        turns.saw('b', { held: 0, working: true, bringing: [theirs[0] ?? -1], count: 300 });
        if (now % took === 0) brought.add(201 + now / took);
        turns.saw('c', { held: brought.size, has: (span) => brought.has(span), working: true, count: 300 });
        turns.mine(theirs[0] ?? -1);
      }
      expect(turns.mine(theirs[0] ?? -1)).toBe(!waits);
    }
  });

  it('are lost by whoever says something else every time, and by whoever takes what others bring', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const theirs = Array.from({ length: 100 }, (_, each) => each).filter((each) => !turns.mine(each));
    const mine = Array.from({ length: 100 }, (_, each) => each).filter((each) => !theirs.includes(each));
    turns.has(mine[0] ?? -1, 1_000);
    for (; now < 60_000; now += 1_000) {
      const held = mine.slice(0, now / 2_000);
      for (const span of held) turns.has(span);
      const claimed = theirs.slice((now / 1_000) % 10, (now / 1_000) % 10 + 10);
      turns.saw('b', { held: held.length, has: (span) => held.includes(span), working: true, bringing: claimed, count: 100 });
      const lost = theirs.filter((each) => turns.mine(each)).length;
      if (now === 10_000) expect(lost).toBe(0);
    }
    expect(theirs.every((each) => turns.mine(each))).toBe(true);
  });
});

describe('what is on its way', () => {
  it('is not fetched once more by whoever joins and gets the turn for it', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const span = Array.from({ length: 100 }, (_, each) => each).find((each) => turns.mine(each)) ?? -1;
    turns.saw('b', { held: 0, working: true, bringing: [span] });
    expect(turns.mine(span)).toBe(false);
    // It has arrived there; or it was only said for ever, or by one that is not there any more.
    turns.saw('b', { held: 1, working: true, bringing: [span], has: (each) => each === span });
    expect(turns.mine(span)).toBe(true);
    turns.saw('b', { held: 1, working: true, bringing: [span] });
    now = TAKE_OVER_MS + 1;
    expect(turns.mine(span)).toBe(true);
    for (; now < 2 * WORK_UNSEEN_MS; now += 1_000) turns.saw('b', { held: now, working: true, bringing: [span] });
    expect(turns.mine(span)).toBe(true);
  });

  it('is little at a time where many are at work', () => {
    expect([turnsOf('a', []), turnsOf('a', ['b']), turnsOf('a', ['b', 'c', 'd']), turnsOf('a', ['b', 'c', 'd', 'e', 'f', 'g', 'h'])].map(({ width }) => width)).toEqual([6, 3, 2, 1]);
  });

  it('is fewer when few are left to begin', () => {
    const widthOf = (count: number): number => {
      const turns = turnsOf('a', ['b']);
      turns.saw('b', { held: 6, has: (span) => span < 6, count, working: true, bringing: [6] });
      return turns.width;
    };
    // Seven are begun, one of them still under way.
    expect([100, 11, 10, 9, 8].map(widthOf)).toEqual([3, 3, 2, 1, 1]);
  });

  it('is nothing of a liar\'s', () => {
    const turns = turnsOf('a', ['b']);
    turns.caught('b');
    turns.saw('b', { held: 5, working: true, bringing: [0, 1, 2] });
    expect([0, 1, 2, 3, 4, 5, 6, 7].every((span) => turns.mine(span))).toBe(true);
    expect(turns.othersAtWork).toBe(false);
  });
});

describe('members that have not heard of the artifact yet', () => {
  const idle = (instance: string): Member => ({ ...member(instance), joined: false });

  it('are waited for a moment, as if they brought their share, and no longer', () => {
    let now = 0;
    const turns = new SiteTurns(member('a'), ROOT, () => now);
    turns.members([idle('b')]);
    const spans = Array.from({ length: 100 }, (_, each) => each);
    expect(spans.map((span) => turns.mine(span))).toEqual(spans.map((span) => turnsOf('a', ['b']).mine(span)));
    now = JOIN_MS + 1;
    expect(spans.every((span) => turns.mine(span))).toBe(true);
    expect(turns.othersAtWork).toBe(false);
    turns.members([{ ...idle('b'), joined: true }]);
    expect(spans.map((span) => turns.mine(span))).toEqual(spans.map((span) => turnsOf('a', ['b']).mine(span)));
  });

  it('are waited for longer while they say that they are looking, and not at all when they say that it is nothing for them', () => {
    let now = 0;
    const turns = new SiteTurns(member('a'), ROOT, () => now);
    const spans = Array.from({ length: 100 }, (_, each) => each);
    const shared = spans.map((span) => turnsOf('a', ['b']).mine(span));
    for (; now <= LOOKING_MS; now += 1_000) {
      turns.members([{ ...idle('b'), looking: true }]);
      expect(spans.map((span) => turns.mine(span))).toEqual(shared);
    }
    now = LOOKING_MS + 1;
    expect(spans.every((span) => turns.mine(span))).toBe(true);
    now = 0;
    const others = new SiteTurns(member('a'), ROOT, () => now);
    others.members([{ ...idle('b'), looking: false }]);
    expect(spans.every((span) => others.mine(span))).toBe(true);
  });
});

describe('members that can be reached, and are late with their answers', () => {
  it('may be bringing anything until they were heard once, for a while', () => {
    let now = 0;
    const turns = new SiteTurns(member('a'), ROOT, () => now);
    turns.members([{ ...member('b'), asked: false }]);
    turns.late('b');
    now = UNHEARD_MS;
    expect(turns.mine(0)).toBe(false);
    now = UNHEARD_MS + 1;
    // Nor has it given a sign of life: then others take over.
    now += TAKE_OVER_MS;
    expect(turns.mine(0)).toBe(true);
    // Who cannot be reached at all is not waited for.
    now = 0;
    const lone = new SiteTurns(member('a'), ROOT, () => now);
    lone.members([{ ...member('b'), joined: false, asked: false }]);
    lone.asked('b');
    now = JOIN_MS + 1;
    expect(lone.mine(0)).toBe(true);
  });

  it('keep their turns for twice as long as those that are silent', () => {
    let now = 0;
    const [busy, silent] = [0, 1].map(() => new SiteTurns(member('a', 1, 2_000_000), ROOT, () => now));
    for (const turns of [busy, silent]) {
      turns?.members([member('b', 1, 500_000)]);
      turns?.saw('b', { held: 1, working: true });
    }
    busy?.late('b');
    now = TAKE_OVER_MS + 1;
    expect([busy?.mine(0), silent?.mine(0)]).toEqual([false, true]);
    now = 2 * TAKE_OVER_MS + 1;
    expect(busy?.mine(0)).toBe(true);
  });

  it('keep them for a minute when most are late: then it is no reason to take them for dead', () => {
    let now = 0;
    const names = ['b', 'c', 'd', 'e', 'f'];
    const siteWith = (late: number): SiteTurns => {
      const turns = new SiteTurns(member('a', 1, 2_000_000), ROOT, () => now);
      turns.members(names.map((name) => ({ ...member(name, 1, name === 'b' ? 500_000 : Infinity), asked: false })));
      for (const name of names.slice(late)) turns.saw(name, { held: 1, working: true });
      for (const name of names.slice(0, late)) turns.late(name);
      return turns;
    };
    const [one, most, recovered] = [siteWith(1), siteWith(3), siteWith(3)];
    now = 2 * TAKE_OVER_MS + 1;
    for (const name of ['c', 'd']) recovered.saw(name, { held: 1, working: true });
    expect([one.mine(0), most.mine(0), recovered.mine(0)]).toEqual([true, false, true]);
    now = 6 * TAKE_OVER_MS + 1;
    expect(most.mine(0)).toBe(true);
  });
});

describe('a site whose members answer slowly', () => {
  it('waits for them as many times as long, and for one that hangs no longer than where the others are quick', () => {
    let now = 0;
    const turns = turnsOf('a', ['b'], () => now);
    const theirs = Array.from({ length: LOTS }, (_, each) => each).filter((each) => !turns.mine(each));
    for (let each = 0; each < 5; each++) turns.answered('b', 20);
    for (let each = 0; each < 4; each++) turns.answered('b', 60_000);
    now = TAKE_OVER_MS + 1;
    expect(theirs.every((each) => turns.mine(each))).toBe(true);
    for (let each = 0; each < 16; each++) turns.answered('b', 3 * ANSWER_MS);
    expect(theirs.some((each) => turns.mine(each))).toBe(false);
    now = 3 * TAKE_OVER_MS + 1;
    expect(theirs.every((each) => turns.mine(each))).toBe(true);
    for (let each = 0; each < 16; each++) turns.answered('b', 1_000 * ANSWER_MS);
    expect(turns.slowness).toBe(SLOW_TIMES_MOST);
  });
});

describe('members that answer slowly', () => {
  /** Two that each think that the other one is gone, and that a span is their own. */
  const apart = (now: () => number): readonly [SiteTurns, SiteTurns] => {
    const both = [new SiteTurns(member('a'), ROOT, now), new SiteTurns(member('b'), ROOT, now)] as const;
    both[0].members([member('b'), member('c')]);
    both[1].members([member('a'), member('c')]);
    for (const turns of both) for (let each = 0; each < 16; each++) turns.answered('c', 5 * ANSWER_MS);
    return both;
  };
  const silence = 5 * TAKE_OVER_MS + 1;

  it('say what they are about to bring, and begin when all have answered what was asked since', () => {
    let now = 0;
    const [a] = apart(() => now);
    const span = Array.from({ length: LOTS }, (_, each) => each).find((each) => ['b', 'c'].every((other) => turnsOf('a', [other]).mine(each))) ?? -1;
    expect([a.mine(span), a.claimed]).toEqual([false, [span]]);
    now = 1_000;
    a.answered('b', 2 * ANSWER_MS);
    expect(a.mine(span)).toBe(false);
    // What c answers now was asked before the claim.
    a.answered('c', 1_001);
    expect(a.mine(span)).toBe(false);
    a.answered('c', 999);
    expect([a.mine(span), a.claimed]).toEqual([true, [span]]);
    a.brings(span);
    expect(a.claimed).toEqual([]);
    // The next one of the same lot is this device's as well.
    expect(a.mine(span + LOTS)).toBe(true);
  });

  it('leave to the other one what both claim when they hear of it, and bring it once', () => {
    let now = 0;
    const [a, b] = apart(() => now);
    now = silence;
    for (const turns of [a, b]) turns.saw('c', { held: 0, working: true });
    const span = Array.from({ length: LOTS }, (_, each) => each).find((each) => turnsOf('a', ['c']).mine(each) && turnsOf('b', ['c']).mine(each)) ?? -1;
    expect([a.mine(span), b.mine(span)]).toEqual([false, false]);
    now += 500;
    // b hears of a first.
    b.saw('a', { held: 0, working: true, bringing: a.claimed, count: LOTS });
    b.answered('a', 400);
    expect([b.mine(span), b.claimed]).toEqual([false, []]);
    a.saw('b', { held: 0, working: true, bringing: b.claimed, count: LOTS });
    for (const each of ['b', 'c']) a.answered(each, 400);
    const begins = [a.mine(span), b.mine(span)];
    // It was a's or b's by rank: that one begins, now or when it has claimed it again; the other does not.
    expect(begins[1]).toBe(false);
  });
});

describe('a site of many', () => {
  it('names those that were to bring things and are gone when none of them is left, and not before', () => {
    let now = 0;
    const turns = new SiteTurns(member('a'), ROOT, () => now);
    const list: readonly Member[] = [member('b'), member('c'), { ...member('d'), standby: true }];
    turns.members(list, true);
    const all = Array.from({ length: LOTS }, (_, each) => each);
    expect([turns.lost, all.some((each) => turns.mine(each))]).toEqual([[], false]);
    now = TAKE_OVER_MS + 1;
    turns.saw('c', { held: 1, working: true });
    turns.members(list, true);
    expect([turns.lost, all.some((each) => turns.mine(each))]).toEqual([[], false]);
    now += TAKE_OVER_MS + 1;
    expect([...turns.lost].sort()).toEqual(['b', 'c']);
    // It is one of those that take their places.
    turns.members([member('b'), member('c'), member('d')], false);
    expect([turns.lost, all.every((each) => turns.mine(each))]).toEqual([[], true]);
  });

  it('has the same bringers in the eyes of all, whatever the order in which they got to know each other, and the same that take their places', () => {
    const names = Array.from({ length: 60 }, (_, at) => `device-${String(at)}`);
    const choose = (self: string, lost: readonly string[]): readonly string[] => {
      const at = names.indexOf(self);
      const others = [...names.slice(at + 1), ...names.slice(0, at)].map((instance) => ({ instance, bytes: Infinity, without: false, lost: lost.includes(instance) }));
      const { bringers, looked, standby } = lookAt(ROOT, { instance: self, bytes: 1_000 }, self, others, 16);
      expect(looked).toHaveLength(16);
      for (const each of bringers) expect(looked).toContain(each);
      return [...[...bringers].map(({ instance }) => instance), ...(standby ? [] : [self])].sort();
    };
    const first = choose('device-0', []);
    expect(first).toHaveLength(LOTS);
    for (const self of names) expect(choose(self, [])).toEqual(first);
    const next = choose(names.find((each) => !first.includes(each)) ?? '', first);
    expect(next).toHaveLength(STAND_INS);
    for (const self of names) if (!first.includes(self)) expect(choose(self, first)).toEqual(next);
    // Who comes late looks at those that took its place.
    const late = first[0] ?? '';
    const { looked } = lookAt(ROOT, { instance: late, bytes: Infinity }, late, names.filter((each) => each !== late).map((instance) => ({ instance, bytes: Infinity, without: false, lost: false })), 16);
    expect(looked.map(({ instance }) => instance)).toEqual(expect.arrayContaining([...next]));
  });

  it('has a few that bring everything, the same for all, each span exactly once', () => {
    const names = Array.from({ length: 60 }, (_, at) => `device-${String(at)}`);
    const all = names.map((self) => turnsOf(self, names));
    const bringers = new Set<string>();
    for (let span = 0; span < 500; span++) {
      const owners = names.filter((_, at) => all[at]?.mine(span) === true);
      expect(owners).toHaveLength(1);
      for (const owner of owners) bringers.add(owner);
    }
    expect(bringers.size).toBeLessThanOrEqual(LOTS);
    expect(bringers.size).toBeGreaterThan(LOTS / 2);
    // Whoever looks at the first few sees all of them.
    expect(bringersFirst(ROOT, names.map((instance) => ({ instance, weight: 1 }))).slice(0, bringers.size).map(({ instance }) => instance).sort()).toEqual([...bringers].sort());
  });
});

describe('members with different bases', () => {
  /** Turns of one member that knows what the others need. */
  const among = (self: Member, others: readonly Member[], now: () => number = () => 0): SiteTurns => {
    const turns = new SiteTurns(self, ROOT, now);
    turns.members(others);
    return turns;
  };

  it('bring every span exactly once, always one that needs the fewest bytes', () => {
    const members = fc.uniqueArray(fc.record({ instance: fc.uuid(), bytes: fc.constantFrom(600_000, 2_000_000, Infinity) }), { minLength: 1, maxLength: 12, selector: ({ instance }) => instance });
    fc.assert(
      fc.property(members, fc.nat(100_000), (list, span) => {
        const all = list.map(({ instance, bytes }) => member(instance, 1, bytes));
        const owners = all.filter((self) => among(self, all).mine(span));
        expect(owners).toHaveLength(1);
        expect(owners[0]?.bytes).toBe(Math.min(...list.map(({ bytes }) => bytes)));
        for (const self of all) expect(among(self, all).leads).toBe(self.bytes === owners[0]?.bytes);
      }),
    );
  });

  it('take over when those with a better base show no sign of life', () => {
    let now = 0;
    const turns = among(member('a', 1, Infinity), [member('b', 1, 500_000)], () => now);
    expect([turns.leads, turns.mine(0)]).toEqual([false, false]);
    now = TAKE_OVER_MS + 1;
    expect([turns.leads, turns.mine(0)]).toEqual([true, true]);
    turns.saw('b', { held: 3, working: true, bytes: 500_000 });
    expect([turns.leads, turns.mine(0)]).toEqual([false, false]);
  });

  it('wait for one that is still looking at its base, but not for ever', () => {
    let now = 0;
    const turns = among(member('a', 1, 500_000), [{ instance: 'b', weight: 1 }], () => now);
    expect(turns.leads).toBe(false);
    turns.saw('b', { held: 0, working: true, bytes: 2_000_000 });
    expect([turns.leads, turns.mine(0)]).toEqual([true, true]);
    const again = among(member('a', 1, 500_000), [{ instance: 'b', weight: 1 }], () => now);
    for (; now <= UNDECIDED_MS; now += 1_000) again.saw('b', { held: 0, working: true });
    expect(again.leads).toBe(true);
  });

  it('leave one that is still looking its share, and begin with their own, when nobody can have a better base', () => {
    const spans = Array.from({ length: 100 }, (_, each) => each);
    for (const own of [500_000, Infinity]) {
      const turns = among(member('a', 1, own), [{ instance: 'b', weight: 1 }, member('c', 1, own)]);
      turns.decided(own, own);
      expect(turns.leads).toBe(true);
      expect(spans.map((span) => turns.mine(span))).toEqual(spans.map((span) => among(member('a', 1, own), [member('b', 1, own), member('c', 1, own)]).mine(span)));
    }
    // With a worse one it waits for who may have the best.
    const worse = among(member('a', 1, 2_000_000), [{ instance: 'b', weight: 1 }]);
    worse.decided(2_000_000, 500_000);
    expect([worse.leads, worse.mine(0)]).toEqual([false, false]);
  });

  it('are given a moment to set out when they are known to have a better base', () => {
    let now = 0;
    const turns = among(member('a', 1, 2_000_000), [{ instance: 'b', weight: 1, bytes: 500_000, joined: false }], () => now);
    expect([turns.leads, turns.mine(0)]).toEqual([false, false]);
    // One with a worse base, or that nobody knows of, is not in the way.
    expect(among(member('a', 1, 2_000_000), [{ instance: 'c', weight: 1, bytes: 3_000_000, joined: false }]).leads).toBe(true);
    expect(among(member('a', 1, 2_000_000), [{ instance: 'd', weight: 1, joined: false }]).leads).toBe(true);
    now = JOIN_MS + 1;
    expect([turns.leads, turns.mine(0)]).toEqual([true, true]);
    turns.members([{ instance: 'b', weight: 1, bytes: 500_000 }]);
    expect(turns.leads).toBe(false);
  });

  it('lose their turns when they give up their delta', () => {
    const turns = among(member('a', 1, 2_000_000), [member('b', 1, 500_000)]);
    turns.saw('b', { held: 1, working: true, bytes: Infinity });
    expect([turns.leads, turns.mine(0)]).toEqual([true, true]);
    turns.decided(Infinity);
    expect(turns.leads).toBe(true);
  });
});

interface World {
  readonly devices: number;
  readonly spans: number;
  /** When each joins, milliseconds. */
  readonly joins: readonly number[];
  /** When each dies; Infinity for most. */
  readonly dies: readonly number[];
  /** Milliseconds a span takes over the backhaul. */
  readonly crossing: number;
  /** Milliseconds until a joining device is known to all others. */
  readonly news: number;
  /** What all of it costs each, bytes; Infinity for those without a delta. Default: nobody has one. */
  readonly bytes?: readonly number[];
  /** All know all others before there is anything to bring. */
  readonly acquainted?: boolean;
  /** Who has not joined yet says that it is looking whether that is news for it. */
  readonly looking?: boolean;
  /** When each is so busy that it answers nobody, milliseconds. */
  readonly mute?: readonly { readonly from: number; readonly to: number }[];
}

/** A site on a virtual clock, in steps of a quarter second: who crosses the backhaul for what, until all living devices have all. */
function simulate({ devices, spans, joins, dies, crossing, news, bytes = [], acquainted = false, looking, mute = [] }: World, seed: number): { readonly crossings: number; readonly lost: number; readonly finished: boolean; readonly by: readonly number[] } {
  let now = 0;
  let crossings = 0;
  /** Spans that a dying device had and no living one. */
  let lost = 0;
  const buried = new Set<number>();
  const names = Array.from({ length: devices }, (_, at) => `d${String(at)}-${String(seed)}`);
  const held = names.map(() => new Set<number>());
  const coming = names.map(() => new Map<number, number>());
  const by = names.map(() => 0);
  const turns = names.map((name, at) => new SiteTurns(member(name, 1, bytes[at]), ROOT, () => now));
  const lives = (at: number): boolean => (joins[at] ?? 0) <= now && now < (dies[at] ?? Infinity);
  const complete = (): boolean => names.every((_, at) => (joins[at] ?? 0) <= now && (!lives(at) || held[at]?.size === spans));
  for (; now < 3_600_000 && !complete(); now += 250) {
    for (const [at, dying] of held.entries()) {
      if ((dies[at] ?? Infinity) > now || buried.has(at)) continue;
      buried.add(at);
      lost += [...dying].filter((span) => !held.some((other, each) => lives(each) && other.has(span))).length;
    }
    for (const [at, own] of turns.entries()) {
      if (!lives(at)) continue;
      // Members that died are on the list for a while: here, for ever.
      const known = names.flatMap((name, other) => (other !== at && (acquainted || (joins[other] ?? 0) + news <= now) ? [{ name, other }] : []));
      own.members(known.map(({ name, other }) => ({ ...member(name, 1, bytes[other]), joined: (joins[other] ?? 0) <= now, looking, ...(mute.length === 0 ? {} : { asked: false }) })));
      const mine = held[at] ?? new Set();
      const mineComing = coming[at] ?? new Map<number, number>();
      for (const [span, due] of mineComing) {
        if (due > now) continue;
        mineComing.delete(span);
        mine.add(span);
        own.has(span, crossing);
      }
      for (const { name, other } of known) {
        if (!lives(other)) continue;
        const { from, to } = mute[other] ?? { from: 0, to: 0 };
        if (now >= from && now < to) {
          own.late(name);
          continue;
        }
        own.saw(name, { held: held[other]?.size ?? 0, has: (span) => held[other]?.has(span) === true, count: spans, working: (coming[other]?.size ?? 0) > 0 || turns[other]?.waits === true, bringing: [...(coming[other]?.keys() ?? [])] });
        // The LAN is quick: a neighbour's spans are there at the next step.
        for (const span of held[other] ?? []) {
          if (mine.has(span)) continue;
          mine.add(span);
          own.has(span);
        }
      }
      for (let span = 0; span < spans && mineComing.size < 3; span++) {
        if (mine.has(span) || mineComing.has(span) || !own.mine(span)) continue;
        mineComing.set(span, now + crossing);
        own.brings(span);
        crossings++;
        by[at] = (by[at] ?? 0) + 1;
      }
    }
  }
  return { crossings, lost, finished: complete(), by };
}

describe('a site whose members hear of it together, or one after another', () => {
  it('crosses exactly once when all know each other from the start', () => {
    const { crossings, finished } = simulate({ devices: 8, spans: 200, joins: Array<number>(8).fill(0), dies: [], crossing: 30_000, news: 0 }, 1);
    expect([finished, crossings]).toEqual([true, 200]);
  });

  it('crosses exactly once when neighbours that know each other hear of it one after another', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(JOIN_MS - 500), { minLength: 2, maxLength: 12 }), fc.integer({ min: 1, max: 60 }), fc.constantFrom(250, 2_000, 30_000), fc.nat(), (joins, spans, crossing, seed) => {
        const { crossings, finished } = simulate({ devices: joins.length, spans, joins, dies: [], crossing, news: 0, acquainted: true }, seed);
        expect([finished, crossings]).toEqual([true, spans]);
      }),
    );
  });

  it('crosses exactly once when those that say they are looking for news take long to hear of it', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(LOOKING_MS - 500), { minLength: 2, maxLength: 12 }), fc.integer({ min: 1, max: 60 }), fc.constantFrom(250, 2_000, 30_000), fc.nat(), (joins, spans, crossing, seed) => {
        const { crossings, finished } = simulate({ devices: joins.length, spans, joins, dies: [], crossing, news: 0, acquainted: true, looking: true }, seed);
        expect([finished, crossings]).toEqual([true, spans]);
      }),
      { numRuns: 30 },
    );
  });

  it('crosses exactly once when some are too busy to answer for a while, at the beginning or in the middle', () => {
    const busy = fc.oneof(
      fc.nat(UNHEARD_MS - 500).map((to) => ({ from: 0, to })),
      // Not for longer than 20 s after the beginning: then one that has seen nothing of anybody tries a span all the same.
      fc.record({ from: fc.integer({ min: 500, max: 10_000 }), length: fc.nat(2 * TAKE_OVER_MS) }).map(({ from, length }) => ({ from, to: Math.min(from + length, 19_500) })),
    );
    fc.assert(
      fc.property(fc.array(busy, { minLength: 2, maxLength: 12 }), fc.integer({ min: 1, max: 60 }), fc.constantFrom(250, 2_000, 30_000), fc.nat(), (mute, spans, crossing, seed) => {
        const { crossings, finished } = simulate({ devices: mute.length, spans, joins: mute.map(() => 0), dies: [], crossing, news: 0, mute }, seed);
        expect([finished, crossings]).toEqual([true, spans]);
      }),
      { numRuns: 30 },
    );
  });

  it('crosses only for those with the best base when all know each other from the start', () => {
    const bytes = [600_000, 600_000, 600_000, 2_000_000, 2_000_000, 2_000_000, Infinity, Infinity];
    const { by, crossings, finished } = simulate({ devices: 8, spans: 200, joins: Array<number>(8).fill(0), dies: [], crossing: 2_000, news: 0, bytes }, 1);
    expect([finished, crossings]).toEqual([true, 200]);
    expect(by.slice(3)).toEqual([0, 0, 0, 0, 0]);
  });
});
