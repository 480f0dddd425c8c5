import { ByteReader, ByteWriter } from '../core/codec.ts';
import { ShoalError } from '../core/errors.ts';
import { Codec } from './types.ts';
import type { CodecId } from './types.ts';

/** What corrects one part of an expanded segment. */
export interface PartPayload {
  readonly codec: CodecId;
  readonly payload: Uint8Array;
}

/** The payload of a segment of codec PARTS: codec u8 and length u24 of each part, then their payloads. */
export function encodeParts(parts: readonly PartPayload[]): Uint8Array {
  const out = new ByteWriter(4 * parts.length + parts.reduce((sum, { payload }) => sum + payload.length, 0));
  for (const { codec, payload } of parts) out.uint(codec, 1).uint(payload.length, 3);
  for (const { payload } of parts) out.raw(payload);
  return out.finish();
}

/**
 * Reads what `encodeParts` wrote for parts of these lengths.
 *
 * @throws ShoalError `DELTA_DAMAGED`, `TRUNCATED`, `TRAILING_BYTES`
 */
export function decodeParts(bytes: Uint8Array, lengths: readonly number[]): readonly PartPayload[] {
  const input = new ByteReader(bytes, 'payload of parts');
  const heads = lengths.map((length) => {
    const head = { codec: input.uint(1) as CodecId, size: input.uint(3) };
    const { codec, size } = head;
    const lawful = codec === Codec.COPY ? size === 0 : codec === Codec.RAW ? size === length : (codec === Codec.SITES || codec === Codec.MOVED) && size > 0 && size < length;
    if (!lawful) throw new ShoalError('DELTA_DAMAGED', 'a part of a segment of the delta is out of bounds', { retry: 'elsewhere' });
    return head;
  });
  const parts = heads.map(({ codec, size }) => ({ codec, payload: input.raw(size) }));
  input.end();
  return parts;
}
