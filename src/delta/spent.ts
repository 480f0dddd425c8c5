import { ShoalError } from '../core/errors.ts';
import { native } from '../kernel/native.ts';
import { DeltaApplier } from './apply.ts';
import type { DeltaObjects } from './apply.ts';
import { decodePage, placesMoved } from './kernel.ts';
import type { DeltaOutline } from './manifest.ts';
import { predict } from './predict.ts';
import type { BaseReader } from './predict.ts';
import { REST, regionsOf } from './regions.ts';
import { Shifts } from './shifts.ts';
import { Codec } from './types.ts';
import type { Covers } from './types.ts';

/** Bytes of a delta that go into a kind of region, by what predicted it: nothing, base bytes, a run, a table. */
export interface Spent {
  readonly region: string;
  /** Of the target. */
  bytes: number;
  literals: number;
  corrections: number;
  runs: number;
  tables: number;
}

export interface Spending {
  /** What costs most comes first. */
  readonly regions: readonly Spent[];
  /** Rules that move references, at the beginnings of payloads. */
  readonly rules: number;
}

/**
 * Where the payloads of a delta go. Holds the whole target in memory.
 *
 * @throws ShoalError `NO_KERNEL` on the portable tier; what `DeltaApplier.segment` throws
 */
export async function spending(outline: DeltaOutline, objects: DeltaObjects, base: BaseReader): Promise<Spending> {
  if (native === undefined) throw new ShoalError('NO_KERNEL', 'what a delta is spent on is measured by the native kernel, which is not here');
  const applier = new DeltaApplier(outline, objects, base);
  const target = Buffer.allocUnsafeSlow(outline.target.size);
  for (const [number, { begin, length }] of applier.segments.entries()) await applier.segment(number, target.subarray(begin, begin + length));
  const found = new Map<string, Spent>();
  const of = (region: string): Spent => {
    const known = found.get(region) ?? { region, bytes: 0, literals: 0, corrections: 0, runs: 0, tables: 0 };
    found.set(region, known);
    return known;
  };
  const maps: Covers[] = [];
  let at = 0;
  let first = 0;
  // Pages of a delta with containers see expanded bytes, of which nothing is said here.
  if (outline.views === undefined) {
    for (const { id, size, covers, segments } of outline.pages) {
      const end = outline.segments.slice(first, first + segments).reduce((sum, { length }) => sum + length, at);
      maps.push(await decodePage(await objects.object(id, size), at, end, outline.base.size, covers));
      at = end;
      first += segments;
    }
  }
  const moved = outline.segments.some(({ codec }) => codec === Codec.MOVED) ? await placesMoved(maps, outline.base.size) : undefined;
  const regions = regionsOf(target);
  let rules = 0;
  let next = 0;
  for (const { begin, length, codec, payload, page } of applier.segments) {
    const names: string[] = [];
    const ends: number[] = [];
    while (regions[next] !== undefined && (regions[next]?.end ?? 0) <= begin) next++;
    for (let k = next; k < regions.length && (ends.at(-1) ?? 0) < length; k++) {
      names.push(regions[k]?.name ?? REST);
      ends.push(Math.min(length, (regions[k]?.end ?? 0) - begin));
    }
    names.forEach((name, k) => {
      of(name).bytes += (ends[k] ?? 0) - (ends[k - 1] ?? 0);
    });
    if (payload === undefined) continue;
    if (codec !== Codec.SITES && codec !== Codec.MOVED) {
      // Each region in proportion.
      names.forEach((name, k) => {
        of(name).literals += (payload.size * ((ends[k] ?? 0) - (ends[k - 1] ?? 0))) / length;
      });
      continue;
    }
    const made = Buffer.allocUnsafeSlow(length);
    const pieces = await predict(maps[page] ?? new Float64Array(0), begin, made, base);
    const bytes = await objects.object(payload.id, payload.size);
    const bits = await native.deltaSpent(codec, bytes, made, begin % 2 ** 32, pieces, moved instanceof Shifts ? undefined : moved, target.subarray(begin, begin + length), Uint32Array.from(ends));
    if (typeof bits === 'number') throw new ShoalError('DELTA_DAMAGED', `a payload of the delta cannot be measured (${String(bits)})`);
    rules += (bits.at(-1) ?? 0) / 8;
    names.forEach((name, k) => {
      const spent = of(name);
      spent.literals += (bits[4 * k] ?? 0) / 8;
      spent.corrections += (bits[4 * k + 1] ?? 0) / 8;
      spent.runs += (bits[4 * k + 2] ?? 0) / 8;
      spent.tables += (bits[4 * k + 3] ?? 0) / 8;
    });
  }
  const cost = ({ literals, corrections, runs, tables }: Spent): number => literals + corrections + runs + tables;
  return { regions: [...found.values()].sort((a, b) => cost(b) - cost(a)), rules };
}
