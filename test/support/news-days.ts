import type { Upstream, UpstreamAnswer } from '../../src/exchange/upstream.ts';
import { News } from '../../src/roles/agent/news.ts';
import { ManualClock } from './manual-clock.ts';

const DAY_MS = 86_400_000;

export interface DaysOptions {
  readonly members: number;
  readonly days: number;
  readonly random: () => number;
  /** Milliseconds between polls. Default: an agent's. */
  readonly pollMs?: number;
  /** Milliseconds between timestamps, where nothing is published: half of what one lives. Default: half a day. */
  readonly resignMs?: number;
  /** Share of questions between neighbours that are not answered in time. */
  readonly late?: number;
}

export interface Days {
  /** Questions to the origin in a day, and how many of them brought a new timestamp. */
  readonly afar: number;
  readonly fresh: number;
  /** For how long a member has known nothing of a new timestamp at most, milliseconds. */
  readonly behind: number;
}

/** A site at rest on a virtual clock: who of its members asks the origin, and how often. What happens before all have started once is not counted. */
export async function idleDays({ members, days, random, pollMs = 300_000, resignMs = DAY_MS / 2, late = 0 }: DaysOptions): Promise<Days> {
  const clock = new ManualClock();
  const names = Array.from({ length: members }, () => random().toString(36).slice(2));
  const versions = new Map(names.map((name) => [name, 0]));
  const news = new Map<string, News>();
  const newest = (): number => 1 + Math.floor(clock.now() / resignMs);
  const upstreamOf = (name: string): Upstream => ({ url: `https://${name}:8472`, get: (): Promise<UpstreamAnswer> => {
    if (random() < late) return Promise.reject(new Error('late'));
    const age = news.get(name)?.age;
    return Promise.resolve({ status: 200, headers: new Map(age === undefined ? [] : [['age', String(age)]]), body: Buffer.from(JSON.stringify({ signed: { version: versions.get(name) } })) });
  } }) as unknown as Upstream;
  for (const instance of names) {
    const neighbours = names.filter((name) => name !== instance).map((name) => ({ instance: name, upstream: upstreamOf(name) }));
    news.set(instance, new News({ clock, instance, pollMs, random, neighbours: () => neighbours, gateway: () => false, timestamp: () => Promise.resolve(versions.get(instance) ?? 0) }));
  }
  const due = new Map(names.map((name) => [name, Math.floor(random() * pollMs)]));
  let [afar, fresh, behind] = [0, 0, 0];
  for (;;) {
    const [name = '', at = 0] = [...due].reduce((first, each) => (each[1] < first[1] ? each : first));
    if (at > pollMs * 2 + days * DAY_MS) break;
    clock.advance(at - clock.now());
    const [counts, own] = [at > pollMs * 2, news.get(name)];
    await own?.due(() => {
      const [from] = own.preferred;
      const before = versions.get(name) ?? 0;
      const after = from === undefined ? newest() : (versions.get(new URL(from.url).hostname) ?? 0);
      versions.set(name, Math.max(before, after));
      if (from !== undefined) return Promise.resolve();
      own.answered();
      if (counts) [afar, fresh] = [afar + 1, fresh + Number(after > before)];
      return Promise.resolve();
    });
    if (counts) for (const version of versions.values()) if (version < newest()) behind = Math.max(behind, clock.now() - (newest() - 1) * resignMs);
    due.set(name, at + Math.floor(pollMs * (0.9 + 0.2 * random())) + Math.floor(random() * 1000));
  }
  return { afar: afar / days, fresh: fresh / days, behind };
}
