import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { ByteReader, ByteWriter } from '../core/codec.ts';
import { ShoalError } from '../core/errors.ts';
import { CONTAINER_MAX_SIZE, CONTAINER_MAX_STREAMS, CONTAINER_VIEWS_MAX_BYTES } from '../core/limits.ts';
import { canBeMade, familyOf, fitsDevice } from './coding.ts';
import type { Streams } from './streams.ts';

/** The streams of both ends of a delta, as its manifest has them (docs/containers.md, "Streams in the manifest"). */
export interface Views {
  readonly base: Streams;
  readonly target: Streams;
}

/** Codings from here on are numbers of a table, behind the column. */
const TABLE = 128;

export function encodeViews({ base, target }: Views): Uint8Array {
  const out = new ByteWriter(64 + 12 * (base.at.length + target.at.length));
  for (const streams of [base, target]) {
    const table = Array.from(new Set(streams.coding.filter((coding) => coding >= TABLE)));
    if (table.length > TABLE) throw new RangeError(`${String(table.length)} codings of streams in one delta`);
    out.uint(streams.at.length, 3).raw(Uint8Array.from(streams.coding, (coding) => (coding < TABLE ? coding : TABLE + table.indexOf(coding))));
    if (table.length > 0) out.uint(table.length, 1);
    for (const coding of table) out.uint(coding, 4);
    let end = 0;
    for (const [n, at] of streams.at.entries()) {
      out.number(at - end);
      end = at + (streams.size[n] as number);
    }
    // Byte by byte of all: what is alike lies together.
    for (const column of [streams.size, streams.held]) for (const shift of [0, 8, 16]) for (const value of column) out.uint((value >>> shift) & 255, 1);
  }
  return deflateRawSync(out.finish(), { level: 9 });
}

function bad(why: string, cause?: unknown): ShoalError {
  return new ShoalError('BAD_DELTA', `the streams of this delta are no list of streams: ${why}`, { retry: 'elsewhere', ...(cause === undefined ? {} : { cause }) });
}

/**
 * Reads what `encodeViews` wrote, every bound checked.
 *
 * @throws ShoalError `BAD_DELTA`; `TRUNCATED`, `TRAILING_BYTES`, `ENCODE_RANGE`; `DELTA_FEATURE` for a coding of a newer program
 */
export function decodeViews(bytes: Uint8Array, baseSize: number, targetSize: number): Views {
  let plain: Uint8Array;
  try {
    plain = inflateRawSync(bytes, { maxOutputLength: CONTAINER_VIEWS_MAX_BYTES });
  } catch (cause) {
    throw bad('it cannot be decoded', cause);
  }
  const input = new ByteReader(plain, 'list of streams');
  const base = readStreams(input, baseSize, false);
  const target = readStreams(input, targetSize, true);
  input.end();
  return { base, target };
}

function readStreams(input: ByteReader, whole: number, made: boolean): Streams {
  const count = input.uint(3);
  if (count > CONTAINER_MAX_STREAMS || count * 8 > input.remaining) throw bad('there are too many');
  const bytes = Uint8Array.from(input.raw(count));
  const table = Uint32Array.from({ length: bytes.some((byte) => byte >= TABLE) ? input.uint(1) : 0 }, () => input.uint(4));
  if (table.some((coding) => coding < TABLE)) throw bad('its table has a coding that belongs in the column');
  const coding = Uint32Array.from(bytes, (byte) => {
    const known = byte < TABLE ? byte : table[byte - TABLE];
    if (known === undefined) throw bad('a coding is not in its table');
    if (familyOf(known) === undefined) throw new ShoalError('DELTA_FEATURE', `this delta needs a coding of streams (${String(known)}) that this program does not know`);
    return known;
  });
  const gaps = Float64Array.from({ length: count }, () => input.number());
  const column = (): Uint32Array => {
    const values = new Uint32Array(count);
    for (const shift of [0, 8, 16]) for (const [n, byte] of input.raw(count).entries()) values[n] = (values[n] as number) | (byte << shift);
    return values;
  };
  const size = column();
  const held = column();
  const at = new Float64Array(count);
  let end = 0;
  for (let n = 0; n < count; n++) {
    at[n] = end + (gaps[n] as number);
    end = (at[n] as number) + (size[n] as number);
    if ((made && !canBeMade(coding[n] as number)) || !fitsDevice(coding[n] as number, held[n] as number) || size[n] === 0 || (size[n] as number) > CONTAINER_MAX_SIZE || held[n] === 0 || !(end <= whole)) throw bad(`stream ${String(n)} is out of bounds`);
  }
  return { at, size, held, coding };
}
