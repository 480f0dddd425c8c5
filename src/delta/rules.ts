/** Which stretches of a segment hold references, and to what: the beginning of a payload of codec MOVED (docs/delta.md, "References"). */

/** Values [begin, begin + size) name base bytes from `base` on (undefined: memory without bytes); in the target they are `drift` larger beside what the map says. */
export interface Range {
  readonly begin: number;
  readonly size: number;
  readonly base: number | undefined;
  readonly drift: number;
}

export const RuleKind = { X86: 0, ARM64: 1, POINTERS: 2, FRAMES: 3 } as const;

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
}

const MOST_SPACES = 16;
const MOST_RANGES = 16;
const MOST_RULES = 4096;
const MOST_VALUE = 2 ** 52;
const NOWHERE: Range = { begin: 0, size: 0, base: undefined, drift: 0 };

/** Numbers of a payload's head: seven bits a byte, the lowest first. */
export class Numbers {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number | undefined {
    return this.#bytes[this.at++];
  }

  /** A number of at most `digits` bytes and at most `most`; undefined: damaged. */
  number(most: number, digits = 8): number | undefined {
    let v = 0;
    for (let k = 0; k < digits; k++) {
      const b = this.byte();
      if (b === undefined) return undefined;
      v += (b & 127) * 2 ** (7 * k);
      if (b < 128) return v <= most ? v : undefined;
    }
    return undefined;
  }
}

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
  const count = input.number(MOST_RULES);
  if (count === undefined) return undefined;
  const rules: Rule[] = [];
  let begin = 0;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const kind = input.byte();
    if (kind === undefined || kind > RuleKind.FRAMES) return undefined;
    const by = input.number(size);
    const length = by === undefined ? undefined : input.number(size);
    if (by === undefined || length === undefined) return undefined;
    begin += by;
    sum += length;
    if (begin > size || length > size - begin || sum > 4 * size) return undefined;
    const space = spaces[input.byte() ?? MOST_SPACES];
    if (space === undefined) return undefined;
    if (kind === RuleKind.POINTERS) {
      const stride = input.byte();
      const field = input.byte();
      const width = input.byte();
      if (stride === undefined || field === undefined || (width !== 4 && width !== 8) || stride < width) return undefined;
      rules.push({ kind, begin, size: length, space, home: NOWHERE, stride, field, width });
    } else {
      const home = space[input.byte() ?? MOST_RANGES];
      if (home?.base === undefined) return undefined;
      rules.push({ kind, begin, size: length, space, home, stride: 0, field: 0, width: 0 });
    }
  }
  return { rules, used: input.at };
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
