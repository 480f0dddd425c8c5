import { ShoalError } from './errors.ts';

/**
 * The text form of a 32-byte BLAKE3 digest: 64 lower-case hexadecimal digits. Ids are strings inside the program because
 * they are map keys everywhere; on the wire and on the medium they are 32 raw bytes.
 */
export type ObjectId = string & { readonly __brand: 'ObjectId' };

/** Bytes in a digest. BLAKE3's default output length (BLAKE3 specification, 2.1). */
export const ID_BYTES = 32;

const HEX_ID = /^[0-9a-f]{64}$/;

/** Says whether `text` is a well-formed id. Upper-case digits are refused: one id has one spelling. */
export function isObjectId(text: string): text is ObjectId {
  return HEX_ID.test(text);
}

/** Reads an id from text. Throws `BAD_ID` when it is not 64 lower-case hexadecimal digits. */
export function parseObjectId(text: string): ObjectId {
  if (isObjectId(text)) return text;
  throw new ShoalError('BAD_ID', `"${text.slice(0, 80)}" is not an object id (64 lower-case hexadecimal digits)`);
}

/** The id whose raw digest is `digest`. Throws `BAD_ID` unless it is exactly 32 bytes. */
export function idFromBytes(digest: Uint8Array): ObjectId {
  if (digest.byteLength !== ID_BYTES) {
    throw new ShoalError('BAD_ID', `an object id is ${String(ID_BYTES)} bytes, not ${String(digest.byteLength)}`);
  }
  return Buffer.from(digest.buffer, digest.byteOffset, ID_BYTES).toString('hex') as ObjectId;
}

/**
 * The ids whose raw digests begin at `first`, `first + stride`, … of `bytes`, `count` of them. One call for all: many ids are read
 * wherever spans go, and each by itself costs more than comparing it. Throws `BAD_ID` where the bytes end before.
 */
export function idsFromBytes(bytes: Uint8Array, count: number, stride = ID_BYTES, first = 0): readonly ObjectId[] {
  if (count > 0 && first + (count - 1) * stride + ID_BYTES > bytes.byteLength) {
    throw new ShoalError('BAD_ID', `${String(bytes.byteLength)} bytes do not hold ${String(count)} object ids`);
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  const ids: ObjectId[] = [];
  for (let at = 2 * first; ids.length < count; at += 2 * stride) ids.push(text.slice(at, at + 2 * ID_BYTES) as ObjectId);
  return ids;
}

/** The 32 raw bytes of an id. */
export function idToBytes(id: ObjectId): Uint8Array {
  return Buffer.from(id, 'hex');
}
