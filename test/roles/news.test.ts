import { describe, expect, it } from 'vitest';
import type { Upstream, UpstreamAnswer } from '../../src/exchange/upstream.ts';
import { ASK_AFAR_MS, askedForNews } from '../../src/plan/polling.ts';
import { News } from '../../src/roles/agent/news.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { idleDays } from '../support/news-days.ts';
import { randomFrom } from '../support/random.ts';

const POLL_MS = 300_000;
const NAMES = ['a', 'b', 'c', 'd'];

/** Members of a site whose polls are counted, on a clock of their own. */
class Site {
  readonly clock = new ManualClock();
  readonly afar = new Map<string, number>();
  readonly near = new Map<string, number>();
  readonly versions = new Map<string, number>(NAMES.map((name) => [name, 1]));
  readonly asked: string[] = [];
  readonly dead = new Set<string>();
  /** Those that cannot reach the origin: it has revoked them, or their line is down. */
  readonly cutOff = new Set<string>();
  readonly news = new Map<string, News>(NAMES.map((name) => [name, this.#newsOf(name)]));

  #newsOf(name: string): News {
    return new News({
      clock: this.clock, instance: name, pollMs: POLL_MS, random: () => 0,
      neighbours: () => NAMES.filter((other) => other !== name).map((instance) => ({ instance, upstream: this.#upstream(instance) })),
      gateway: () => false,
      timestamp: () => Promise.resolve(this.versions.get(name) ?? 0),
    });
  }

  #upstream(name: string): Upstream {
    const answer = (): Promise<UpstreamAnswer> => {
      this.asked.push(name);
      if (this.dead.has(name)) return Promise.reject(new Error('dead'));
      const age = this.news.get(name)?.age;
      return Promise.resolve({ status: 200, headers: new Map(age === undefined ? [] : [['age', String(age)]]), body: Buffer.from(JSON.stringify({ signed: { version: this.versions.get(name) } })) });
    };
    return { url: `http://10.0.0.${String(NAMES.indexOf(name) + 1)}:8472`, get: answer } as unknown as Upstream;
  }

  async poll(name: string, heard?: string): Promise<void> {
    const news = this.news.get(name);
    const count = (): Promise<void> => {
      const counts = (news?.preferred.length ?? 0) > 0 ? this.near : this.afar;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      if (counts === this.afar && !this.cutOff.has(name)) news?.answered();
      return Promise.resolve();
    };
    await (heard === undefined ? news?.due(count) : news?.heard(heard, count));
  }

  /** The member that asks for all. */
  get first(): string {
    return NAMES.find((self) => askedForNews(self, NAMES.filter((each) => each !== self), 1).length === 0) ?? '';
  }
}

describe('news of a site', () => {
  it('are asked for by one member, and passed on to the others', async () => {
    const site = new Site();
    for (let round = 0; round < 12; round++) {
      for (const name of [site.first, ...NAMES.filter((each) => each !== site.first)]) await site.poll(name);
      site.clock.advance(POLL_MS);
    }
    expect(site.afar.get(site.first)).toBe(12);
    // At their start they have asked nobody yet.
    for (const name of NAMES) if (name !== site.first) expect([site.afar.get(name), site.near.get(name)]).toEqual([1, 11]);
  });

  it('are asked of whoever asked for what is not known, and of all others only where he has none', async () => {
    const site = new Site();
    for (const name of NAMES) await site.poll(name);
    const [self = '', asker = '', other = '', third = ''] = NAMES;
    site.versions.set(asker, 2);
    site.asked.length = 0;
    await site.poll(self, '10.0.0.2');
    expect(site.asked).toEqual([asker]);
    site.clock.advance(60_000);
    site.versions.set(self, 2);
    site.versions.set(third, 3);
    site.asked.length = 0;
    await site.poll(self, '10.0.0.2');
    expect(site.asked.toSorted()).toEqual([asker, other, third].toSorted());
    expect(site.near.get(self)).toBe(2);
  });

  it('are asked for by others when that member is gone', async () => {
    const site = new Site();
    for (const name of NAMES) await site.poll(name);
    site.dead.add(site.first);
    site.clock.advance(2 * POLL_MS);
    const [other = ''] = NAMES.filter((each) => each !== site.first);
    await site.poll(other);
    expect(site.afar.get(other)).toBe(2);
  });

  it('are asked for by others when that member cannot reach the origin any more, and says nothing of it', async () => {
    const site = new Site();
    for (const name of NAMES) await site.poll(name);
    site.cutOff.add(site.first);
    const others = NAMES.filter((each) => each !== site.first);
    for (let round = 0; round < 12; round++) {
      site.clock.advance(POLL_MS);
      for (const name of [site.first, ...others]) await site.poll(name);
    }
    // It goes on trying, and one of the others asks for all of them, from the second poll on.
    expect(site.afar.get(site.first)).toBe(13);
    const asked = others.map((name) => site.afar.get(name) ?? 0);
    expect([Math.max(...asked) >= 10, asked.reduce((sum, each) => sum + each, 0) <= 12 + 2 * others.length]).toEqual([true, true]);
  });

  it('do not rest on the word of neighbours for ever', async () => {
    const site = new Site();
    for (const name of NAMES) await site.poll(name);
    const [other = ''] = NAMES.filter((each) => each !== site.first);
    for (let passed = 0; passed < 2 * ASK_AFAR_MS; passed += POLL_MS) {
      await site.poll(site.first);
      await site.poll(other);
      site.clock.advance(POLL_MS);
    }
    expect(site.afar.get(other)).toBeGreaterThanOrEqual(2);
    expect(site.afar.get(other)).toBeLessThanOrEqual(4);
  });

  it('come from a neighbour that asks for something unknown, and from nobody when there are none', async () => {
    const site = new Site();
    const [one = '', two = ''] = NAMES;
    site.versions.set(two, 2);
    await site.poll(one, '10.0.0.2');
    expect([site.near.get(one), site.afar.get(one)]).toEqual([1, undefined]);
    site.versions.set(one, 2);
    site.clock.advance(5_000);
    await site.poll(one, '10.0.0.2');
    // That was about something else: for a while nobody asks again.
    site.versions.set(two, 3);
    site.clock.advance(5_000);
    await site.poll(one, '10.0.0.2');
    expect(site.near.get(one)).toBe(1);
    site.clock.advance(60_000);
    await site.poll(one, '10.0.0.2');
    expect(site.near.get(one)).toBe(2);
  });

  it('are looked for again soon when whoever asked could not be asked in turn', async () => {
    const site = new Site();
    const [one = '', two = ''] = NAMES;
    const news = site.news.get(one);
    site.dead.add(two);
    await site.poll(one, '10.0.0.2');
    expect([news?.deaf, news?.unsure]).toEqual([true, true]);
    site.dead.delete(two);
    site.versions.set(two, 2);
    site.clock.advance(2_000);
    expect(news?.deaf).toBe(false);
    await site.poll(one, '10.0.0.2');
    expect([site.near.get(one), news?.unsure]).toEqual([1, false]);
  });

  it('cost a site of fifty one question every five minutes in a day, and few more where one answer in twenty comes too late', async () => {
    const calm = await idleDays({ members: 50, days: 1, random: randomFrom(1) });
    // 288 polls of one member. Two timestamps are signed anew: who asks passes on to another one each time.
    expect(calm.afar).toBeLessThanOrEqual(288 + 4);
    // Whoever asks, and whoever asks him: two polls, each a tenth longer at most.
    expect(calm.behind).toBeLessThanOrEqual(2.3 * POLL_MS);
    const slow = await idleDays({ members: 50, days: 1, random: randomFrom(2), late: 0.05 });
    expect(slow.afar).toBeLessThanOrEqual(1.1 * 288);
    expect(slow.behind).toBeLessThanOrEqual(4 * POLL_MS);
  });
});
