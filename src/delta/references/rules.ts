import { Gamma } from '../coding/change.ts';
import { RangeDecoder } from '../coding/coder.ts';
import { Numbers } from '../coding/numbers.ts';

/** Which stretches of a segment hold references, and to what: the beginning of a payload of codec MOVED (docs/delta.md, "References"). */

/** Values [begin, begin + size) name base bytes from `base` on (undefined: memory without bytes); in the target they are `drift` larger beside what the map says. */
export interface Range {
  readonly begin: number;
  readonly size: number;
  readonly base: number | undefined;
  readonly drift: number;
}

/**
 * Values go up by `by` (modulo 2^32) of the last of `from` (ascending) that is not above them; those below the first go by the
 * parent, or stay.
 */
export interface ValueMap {
  readonly parent: ValueMap | undefined;
  readonly from: Uint32Array;
  readonly by: Uint32Array;
}

export const RuleKind = { X86: 0, ARM64: 1, POINTERS: 2, FRAMES: 3, TYPES: 4, RELOCATIONS: 5, WASM_CODE: 6, WASM_LIST: 7, RISC_V: 8, JUMPS: 9, FRAME_INDEX: 10, ARM32: 11, THUMB: 12, I386: 13, PLACES_31: 14 } as const;
/** Kinds whose values go by maps, not by the alignment map. */
const MAPPED: ReadonlySet<number> = new Set([RuleKind.TYPES, RuleKind.RELOCATIONS, RuleKind.WASM_CODE, RuleKind.WASM_LIST]);

/** Of a stretch of a segment. */
export interface Rule {
  readonly kind: number;
  readonly begin: number;
  readonly size: number;
  readonly space: readonly Range[];
  /** Of code and records: the range that they lie in themselves. */
  readonly home: Range;
  /** Of pointers: `width` bytes at `field` of every `stride`. */
  readonly stride: number;
  readonly field: number;
  readonly width: number;
  /** Of an index: the stretch of the segment that its records are. */
  readonly records: number;
  readonly recordsSize: number;
  /** Of jumps: where tables begin in the home (`from` of ids). Of types: what their numbers and the offsets of their names go by. Of relocations: numbers of symbols. Of WebAssembly: functions and constants. */
  readonly ids: ValueMap;
  readonly strings: ValueMap;
  /** Of relocations: what addends go by, by symbol; and offsets, so many entries after another. */
  readonly addends: ReadonlyMap<number, ValueMap>;
  readonly offsets: readonly { readonly entries: number; readonly map: ValueMap }[];
}

/** Bytes of an entry: offset, type, symbol, addend. */
export const RELOCATION_BYTES = 24;

/** Before the rows of an index, which count from there. */
export const INDEX_HEAD_BYTES = 12;

const MOST_SPACES = 16;
const MOST_RANGES = 16;
const MOST_RULES = 4096;
const MOST_USES = 4096;
const MOST_MAPS = 8192;
/** Of all maps of a segment. */
const MOST_VALUES = 65536;
const MOST_VALUE = 2 ** 52;
const NO_MAP: ValueMap = { parent: undefined, from: new Uint32Array(0), by: new Uint32Array(0) };
type Mapped = Pick<Rule, 'ids' | 'strings' | 'addends' | 'offsets'>;
const UNMAPPED: Mapped = { ids: NO_MAP, strings: NO_MAP, addends: new Map(), offsets: [] };
const NO_FIELDS = { stride: 0, field: 0, width: 0, records: 0, recordsSize: 0 } as const;
const NOWHERE: Range = { begin: 0, size: 0, base: undefined, drift: 0 };

/** The rules at the beginning of a payload of a segment of `size` bytes, and how many bytes they take; undefined: damaged. */
export function readRules(payload: Uint8Array, size: number, baseSize: number): { readonly rules: readonly Rule[]; readonly used: number } | undefined {
  const input = new Numbers(payload);
  const spaces: Range[][] = [];
  const spaceCount = input.number(MOST_SPACES);
  if (spaceCount === undefined) return undefined;
  for (let s = 0; s < spaceCount; s++) {
    const space = readSpace(input, baseSize);
    if (space === undefined) return undefined;
    spaces.push(space);
  }
  const maps = readMaps(input);
  const count = input.number(MOST_RULES);
  if (maps === undefined || count === undefined) return undefined;
  const rules: Rule[] = [];
  let begin = 0;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const kind = input.byte();
    if (kind === undefined || kind > RuleKind.PLACES_31) return undefined;
    const by = input.number(size);
    const length = by === undefined ? undefined : input.number(size);
    if (by === undefined || length === undefined) return undefined;
    begin += by;
    sum += length;
    if (begin > size || length > size - begin || sum > 4 * size) return undefined;
    if (MAPPED.has(kind)) {
      const mapped = readMapped(input, kind, maps);
      if (mapped === undefined) return undefined;
      rules.push({ kind, begin, size: length, space: [], home: NOWHERE, ...NO_FIELDS, ...mapped });
      continue;
    }
    if (kind === RuleKind.FRAME_INDEX) {
      const records = input.number(size);
      const recordsSize = records === undefined ? undefined : input.number(size - records);
      if (records === undefined || recordsSize === undefined || begin < INDEX_HEAD_BYTES) return undefined;
      // These are gone through, and so count as well.
      sum += recordsSize;
      if (sum > 4 * size) return undefined;
      rules.push({ kind, begin, size: length, space: [], home: NOWHERE, ...NO_FIELDS, ...UNMAPPED, records, recordsSize });
      continue;
    }
    const space = spaces[input.byte() ?? MOST_SPACES];
    if (space === undefined) return undefined;
    if (kind === RuleKind.POINTERS) {
      const stride = input.byte();
      const field = input.byte();
      const width = input.byte();
      if (stride === undefined || field === undefined || (width !== 4 && width !== 8) || stride < width) return undefined;
      rules.push({ kind, begin, size: length, space, home: NOWHERE, ...NO_FIELDS, stride, field, width, ...UNMAPPED });
    } else {
      const home = space[input.byte() ?? MOST_RANGES];
      if (home?.base === undefined) return undefined;
      const ids = kind === RuleKind.JUMPS ? maps[input.number(Math.max(0, maps.length - 1)) ?? maps.length] : NO_MAP;
      if (ids === undefined) return undefined;
      rules.push({ kind, begin, size: length, space, home, ...NO_FIELDS, ...UNMAPPED, ids });
    }
  }
  return { rules, used: input.at };
}

/** What follows kind, begin and size of a rule whose values go by maps. */
function readMapped(input: Numbers, kind: number, maps: readonly ValueMap[]): Mapped | undefined {
  const map = (): ValueMap | undefined => maps[input.number(Math.max(0, maps.length - 1)) ?? maps.length];
  const ids = map();
  if (ids === undefined) return undefined;
  if (kind !== RuleKind.RELOCATIONS) {
    const strings = map();
    return strings === undefined ? undefined : { ...UNMAPPED, ids, strings };
  }
  const addends = new Map<number, ValueMap>();
  const symbols = input.number(MOST_USES);
  if (symbols === undefined) return undefined;
  let symbol = 0;
  for (let n = 0; n < symbols; n++) {
    const more = input.number(2 ** 32 - 1);
    const goesBy = more === undefined ? undefined : map();
    if (more === undefined || goesBy === undefined || (more === 0 && n > 0)) return undefined;
    symbol += more;
    if (symbol >= 2 ** 32) return undefined;
    addends.set(symbol, goesBy);
  }
  const stretches = input.number(MOST_USES);
  if (stretches === undefined) return undefined;
  const offsets: { entries: number; map: ValueMap }[] = [];
  for (let n = 0; n < stretches; n++) {
    const entries = input.number(2 ** 32 - 1);
    const goesBy = entries === undefined || entries === 0 ? undefined : input.number(maps.length);
    if (entries === undefined || goesBy === undefined) return undefined;
    offsets.push({ entries, map: maps[goesBy - 1] ?? NO_MAP });
  }
  return { ...UNMAPPED, ids, addends, offsets };
}

function readMaps(input: Numbers): ValueMap[] | undefined {
  const count = input.number(MOST_MAPS);
  if (count === undefined || count === 0) return count === undefined ? undefined : [];
  const bytes = input.take(input.number(2 ** 32));
  if (bytes === undefined) return undefined;
  const coder = new RangeDecoder(bytes);
  const numbers = (): Gamma => new Gamma(coder);
  const [parents, counts, froms, changes] = [numbers(), numbers(), [numbers(), numbers()], [numbers(), numbers()]];
  const maps: ValueMap[] = [];
  let left = MOST_VALUES;
  for (let n = 0; n < count; n++) {
    const parent = parents.code(0);
    const values = counts.code(0);
    if (parent > n || maps[parent - 1]?.parent !== undefined || values > left) return undefined;
    left -= values;
    const kind = parent === 0 ? 0 : 1;
    const from = new Uint32Array(values);
    const by = new Uint32Array(values);
    let at = 0;
    let sum = 0;
    for (let k = 0; k < values; k++) {
      const more = froms[kind]?.code(0) ?? 0;
      const change = changes[kind]?.code(0) ?? 0;
      at += more;
      if ((more === 0 && k > 0) || at >= 2 ** 32) return undefined;
      sum = (sum + (change % 2 === 0 ? change / 2 : ~((change - 1) / 2))) >>> 0;
      from[k] = at;
      by[k] = sum;
    }
    maps.push({ parent: maps[parent - 1], from, by });
  }
  return maps;
}

function readSpace(input: Numbers, baseSize: number): Range[] | undefined {
  const count = input.number(MOST_RANGES);
  if (count === undefined || count === 0) return undefined;
  const space: Range[] = [];
  for (let r = 0; r < count; r++) {
    const begin = input.number(MOST_VALUE);
    const size = begin === undefined ? undefined : input.number(MOST_VALUE);
    const from = size === undefined ? undefined : input.number(2 ** 38);
    const drift = from === undefined ? undefined : input.number(2 * MOST_VALUE);
    if (begin === undefined || size === undefined || from === undefined || drift === undefined) return undefined;
    const base = from === 0 ? undefined : from - 1;
    if (base !== undefined && (base > baseSize || size > baseSize - base)) return undefined;
    space.push({ begin, size, base, drift: drift % 2 === 0 ? drift / 2 : -(drift + 1) / 2 });
  }
  return space;
}
