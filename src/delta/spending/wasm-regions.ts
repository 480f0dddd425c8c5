/** Sections of WebAssembly modules (WebAssembly Core Specification 2.0, "Modules" of "Binary Format"), for people. */

/** And version 1. */
export const WASM_MAGIC = Buffer.from('\0asm\x01\0\0\0', 'latin1');

/** By id; those with an id of their own come once, in this order. */
const NAMES = new Map([
  [1, 'types'], [2, 'imports'], [3, 'functions'], [4, 'tables'], [5, 'memories'], [13, 'tags'], [6, 'globals'], [7, 'exports'], [8, 'start'], [9, 'elements'], [12, 'data count'], [10, 'code'], [11, 'data'],
]);
const ORDER = [...NAMES.keys()];
const CUSTOM = 0;
const MOST_NAME = 64;

interface Section {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

/** What the sections of the module that begins at `at` hold, in order; a module ends where no section follows. Empty where none does. */
export function wasmSections(bytes: Uint8Array, at: number): readonly Section[] {
  const found: Section[] = [];
  let last = -1;
  for (let place = at + WASM_MAGIC.length; ;) {
    const id = bytes[place];
    const size = id === undefined ? undefined : lebAt(bytes, place + 1);
    if (id === undefined || size === undefined) return found;
    const [begin, end] = [size.end, size.end + size.value];
    const order = ORDER.indexOf(id);
    const name = id === CUSTOM ? customName(bytes, begin, end) : order > last ? NAMES.get(id) : undefined;
    if (name === undefined || end > bytes.length) return found;
    last = Math.max(last, order);
    found.push({ name: `wasm ${name}`, begin, end });
    place = end;
  }
}

/** It begins with its name, which is not empty. */
function customName(bytes: Uint8Array, begin: number, end: number): string | undefined {
  const length = lebAt(bytes, begin);
  if (length === undefined || length.value === 0 || length.value > MOST_NAME || length.end + length.value > end) return undefined;
  return Buffer.from(bytes.subarray(length.end, length.end + length.value)).toString('latin1');
}

/** Seven bits a byte, the lowest first, 32 in all. */
function lebAt(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let n = 0; n < 5; n++) {
    const byte = bytes[at + n];
    if (byte === undefined) return undefined;
    value += (byte & 127) * 2 ** (7 * n);
    if (byte < 128) return { value, end: at + n + 1 };
  }
  return undefined;
}
