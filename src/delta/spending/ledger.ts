import { ShoalError } from '../../core/errors.ts';
import type { NativeAddon } from '../../kernel/native.ts';
import type { ExaminedPart } from '../apply.ts';
import { REST } from './regions.ts';
import type { Region } from './regions.ts';
import { RuleKind, readRules } from '../references/rules.ts';
import type { Rule } from '../references/rules.ts';
import { Shifts } from '../references/shifts.ts';
import { Codec } from '../types.ts';
import type { CodecId } from '../types.ts';

/** Bytes of payloads, by what predicted what they correct: nothing, base bytes, a run, a table. */
export interface Cost {
  literals: number;
  corrections: number;
  runs: number;
  tables: number;
}

/** Bytes of a delta that go into a kind of region. */
export interface Spent extends Cost {
  readonly region: string;
  readonly kind: Region['kind'];
  /** Of the target, its streams opened. */
  bytes: number;
  /** Of map pages, by how many covers begin there. */
  map: number;
  /** What payloads would take beside `Cost` if no references were moved. */
  saved: number;
}

/** What the rules of one kind move references in. */
export interface SpentRule {
  readonly predictor: string;
  /** Stretches, and how long they are together. */
  stretches: number;
  bytes: number;
  /** What payloads correct there, and how much more they would if no references were moved. */
  spent: number;
  saved: number;
}

export interface Spending {
  /** What costs most comes first. */
  readonly regions: readonly Spent[];
  /** What saves most comes first. */
  readonly predictors: readonly SpentRule[];
  /** Rules that move references, at the beginnings of payloads. */
  readonly rules: number;
  /** Bytes of what streams hold that lie in two segments, whose ends they cross: what they cost is there twice. */
  readonly twice: number;
  /** Bytes of the target that are copied from earlier segments. */
  readonly earlier: number;
}

const PREDICTORS: Readonly<Record<number, string>> = {
  [RuleKind.X86]: 'x86-64 code', [RuleKind.ARM64]: 'AArch64 code', [RuleKind.POINTERS]: 'pointers and symbols', [RuleKind.FRAMES]: 'unwinding records', [RuleKind.TYPES]: 'types (BTF)', [RuleKind.RELOCATIONS]: 'relocations',
  [RuleKind.WASM_CODE]: 'WebAssembly code', [RuleKind.WASM_LIST]: 'WebAssembly elements', [RuleKind.RISC_V]: 'RISC-V code',
  [RuleKind.JUMPS]: 'tables of jumps', [RuleKind.FRAME_INDEX]: 'index of unwinding records', [RuleKind.ARM32]: 'Arm code (A32)', [RuleKind.THUMB]: 'Arm code (T32)', [RuleKind.I386]: 'i386 code', [RuleKind.PLACES_31]: 'unwinding of Arm',
};

/** Segments that travel as they are, with streams in them. */
const UNOPENED = 'compressed bytes as they are';

/** Adds up what parts cost. */
export class Ledger {
  readonly #addon: NativeAddon;
  readonly #regions: readonly Region[];
  readonly #baseSize: number;
  readonly #spent = new Map<string, Spent>();
  readonly #predictors = new Map<number, SpentRule>();
  #rules = 0;

  /** `regions` of the opened target; `baseSize` with what its streams hold. */
  constructor(addon: NativeAddon, regions: readonly Region[], baseSize: number) {
    this.#addon = addon;
    this.#regions = regions;
    this.#baseSize = baseSize;
    let begin = 0;
    for (const { name, kind, end } of regions) {
      this.#of(kind, name).bytes += end - begin;
      begin = end;
    }
  }

  #of(kind: Region['kind'], region: string): Spent {
    const key = `${kind} ${region}`;
    const known = this.#spent.get(key) ?? { region, kind, bytes: 0, map: 0, literals: 0, corrections: 0, runs: 0, tables: 0, saved: 0 };
    this.#spent.set(key, known);
    return known;
  }

  #predictor(kind: number): SpentRule {
    const known = this.#predictors.get(kind) ?? { predictor: PREDICTORS[kind] ?? String(kind), stretches: 0, bytes: 0, spent: 0, saved: 0 };
    this.#predictors.set(kind, known);
    return known;
  }

  /** `coverBytes`: what a cover of its page takes. */
  async enter(part: ExaminedPart, coverBytes: number): Promise<void> {
    const { codec, payload, prediction, pieces, origin, moved, made, unopened } = part;
    if (unopened) {
      this.#of('rest', UNOPENED).literals += payload.length;
      return;
    }
    this.#enterCovers(part, coverBytes);
    if (codec === Codec.COPY) return;
    const rules = codec === Codec.MOVED ? readRules(payload, made.length, this.#baseSize)?.rules ?? [] : [];
    for (const { kind, size } of rules) {
      const predictor = this.#predictor(kind);
      predictor.stretches++;
      predictor.bytes += size;
    }
    const stretches = this.#stretches(part.opened, made.length, rules);
    if (codec === Codec.RAW) {
      let begin = 0;
      for (const { end, region } of stretches) {
        this.#of(region.kind, region.name).literals += end - begin;
        begin = end;
      }
      return;
    }
    const ends = Uint32Array.from(stretches, ({ end }) => end);
    const measure = async (as: CodecId, bytes: Uint8Array): Promise<Float64Array> => {
      const bits = await this.#addon.deltaSpent(as, bytes, Uint8Array.from(prediction), origin % 2 ** 32, pieces, as !== Codec.MOVED || moved instanceof Shifts ? undefined : moved, made, ends);
      if (typeof bits === 'number') throw new ShoalError('DELTA_DAMAGED', `a payload of the delta cannot be measured (${String(bits)})`);
      return bits.map((each) => each / 8);
    };
    const bytes = await measure(codec, payload);
    // The same without rules; of a payload only its first byte is looked at, which says that it is none of few changes.
    const unmoved = codec === Codec.MOVED ? await measure(Codec.SITES, new Uint8Array(1)) : undefined;
    this.#rules += bytes.at(-1) ?? 0;
    for (const [n, { region, rule }] of stretches.entries()) {
      const spent = this.#of(region.kind, region.name);
      const cost = [0, 1, 2, 3].map((k) => bytes[4 * n + k] ?? 0);
      spent.literals += cost[0] ?? 0;
      spent.corrections += cost[1] ?? 0;
      spent.runs += cost[2] ?? 0;
      spent.tables += cost[3] ?? 0;
      if (unmoved === undefined) continue;
      const sum = cost.reduce((all, each) => all + each, 0);
      const saved = [0, 1, 2, 3].reduce((all, k) => all + (unmoved[4 * n + k] ?? 0), 0) - sum;
      spent.saved += saved;
      if (rule === undefined) continue;
      const predictor = this.#predictor(rule.kind);
      predictor.spent += sum;
      predictor.saved += saved;
    }
  }

  #enterCovers({ covers, expanded, opened, made }: ExaminedPart, coverBytes: number): void {
    let r = this.#regionAt(opened);
    for (let i = 0; i < covers.length; i += 4) {
      const at = (covers[i] as number) - expanded;
      if (at < 0 || at >= made.length) continue;
      while ((this.#regions[r]?.end ?? Infinity) <= opened + at) r++;
      const region = this.#regions[r];
      if (region !== undefined) this.#of(region.kind, region.name).map += coverBytes;
    }
  }

  /** A part by what lies in it, and by what rules move references in. */
  #stretches(opened: number, length: number, rules: readonly Rule[]): readonly { readonly end: number; readonly region: Region; readonly rule: Rule | undefined }[] {
    const cuts = new Set<number>([length]);
    const first = this.#regionAt(opened);
    for (let r = first; r < this.#regions.length && (this.#regions[r]?.end ?? 0) < opened + length; r++) cuts.add((this.#regions[r]?.end ?? 0) - opened);
    for (const { begin, size } of rules) cuts.add(begin).add(begin + size);
    const sorted = rules.toSorted((a, b) => a.begin - b.begin);
    let [r, k, begin] = [first, 0, 0];
    return [...cuts].filter((end) => end > 0 && end <= length).sort((a, b) => a - b).map((end) => {
      while ((this.#regions[r]?.end ?? Infinity) <= opened + begin) r++;
      while (sorted[k] !== undefined && (sorted[k] as Rule).begin + (sorted[k] as Rule).size <= begin) k++;
      const rule = sorted[k];
      const stretch = { end, region: this.#regions[r] ?? { name: REST, kind: 'rest', end }, rule: rule !== undefined && rule.begin <= begin ? rule : undefined } as const;
      begin = end;
      return stretch;
    });
  }

  /** Number of the region that a place lies in. */
  #regionAt(place: number): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#regions[middle]?.end ?? 0) <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  end(): Omit<Spending, 'twice' | 'earlier'> {
    return {
      regions: [...this.#spent.values()].sort((a, b) => costOf(b) - costOf(a)),
      predictors: [...this.#predictors.values()].sort((a, b) => b.saved - a.saved),
      rules: this.#rules,
    };
  }
}

/** All that a region takes. */
export function costOf({ literals, corrections, runs, tables, map }: Spent): number {
  return literals + corrections + runs + tables + map;
}
