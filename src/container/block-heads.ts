import { DISTANCE_BASE, DISTANCE_EXTRA, END, LENGTH_BASE, LENGTH_EXTRA } from './deflate-codes.ts';

/** Symbols of a block with fixed codes that are looked at: nearly nothing else has so many lawful ones. */
const FIXED_LOOK = 24;

/** Whether a block of RFC 1951 may begin here: rules out nearly all other places without decoding. */
export function beginsBlock(whole: Buffer, at: number): boolean {
  if (at + 8 > whole.length) return false;
  const first = whole[at] as number;
  const kind = (first >> 1) & 3;
  if (kind === 3) return false;
  if (kind === 0) return whole.readUInt16LE(at + 1) === (whole.readUInt16LE(at + 3) ^ 0xffff);
  if (kind === 1) return beginsFixed(whole, at);
  const literals = first >> 3;
  const second = whole[at + 1] as number;
  if (literals > 29 || (second & 31) > 29) return false;
  // The code of code lengths has to be complete (3.2.7).
  const count = 4 + ((second >> 5) | (((whole[at + 2] as number) & 1) << 3));
  let shares = 0;
  for (let n = 0, bit = 17; n < count; n++, bit += 3) {
    const length = ((((whole[at + (bit >> 3)] as number) | ((whole[at + (bit >> 3) + 1] ?? 0) << 8)) >> (bit & 7)) & 7);
    if (length > 0) shares += 128 >> length;
  }
  return shares === 128;
}

/** Whether a block with fixed codes (RFC 1951, 3.2.6) may begin here: no symbol that there is not, no match from before its beginning. */
function beginsFixed(whole: Buffer, at: number): boolean {
  let place = 3;
  const bit = (): number => {
    const value = ((whole[at + (place >> 3)] ?? 0) >> (place & 7)) & 1;
    place++;
    return value;
  };
  const bits = (count: number): number => {
    let value = 0;
    for (let n = 0; n < count; n++) value |= bit() << n;
    return value;
  };
  // Codes come highest bit first.
  const code = (count: number): number => {
    let value = 0;
    for (let n = 0; n < count; n++) value = 2 * value + bit();
    return value;
  };
  let made = 0;
  for (let n = 0; n < FIXED_LOOK; n++) {
    const seven = code(7);
    const eight = seven < 24 ? 0 : 2 * seven + bit();
    const symbol = seven < 24 ? END + seven : eight >= 192 && eight < 200 ? 280 + eight - 192 : 0;
    if (symbol === END) return true;
    if (symbol === 0) {
      if (eight >= 200) bit();
      made++;
      continue;
    }
    const extra = LENGTH_EXTRA[symbol - END - 1];
    if (extra === undefined) return false;
    const length = 3 + (LENGTH_BASE[symbol - END - 1] as number) + bits(extra);
    const far = code(5);
    const more = DISTANCE_EXTRA[far];
    if (more === undefined || 1 + (DISTANCE_BASE[far] as number) + bits(more) > made) return false;
    made += length;
  }
  return true;
}
