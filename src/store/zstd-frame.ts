/**
 * A zstd frame around bytes as they are: raw blocks only (RFC 8878, section 3.1.1.2.2), single segment with the content
 * size in four bytes. Lets stored raw bytes follow compressed ones in one body without being compressed.
 */
const BLOCK_BYTES = 128 * 1024;
const HEADER_BYTES = 9;

/** Length of the frame around `raw` bytes (1 … 2^32 - 1). */
export function rawFrameLength(raw: number): number {
  return HEADER_BYTES + raw + 3 * Math.ceil(raw / BLOCK_BYTES);
}

/** Frames `length` bytes that arrive in pieces of any size. Pieces are passed on, not copied. */
export async function* rawFrame(length: number, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(0xfd2fb528, 0);
  // Frame_Content_Size_flag 2 (four bytes), Single_Segment_flag.
  header.writeUInt8(0xa0, 4);
  header.writeUInt32LE(length, 5);
  yield header;
  let done = 0;
  let left = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.byteLength; ) {
      if (left === 0) {
        left = Math.min(BLOCK_BYTES, length - done);
        yield blockHeader(left, done + left === length);
      }
      const part = piece.subarray(at, at + left);
      yield part;
      at += part.byteLength;
      done += part.byteLength;
      left -= part.byteLength;
    }
  }
}

function blockHeader(size: number, last: boolean): Uint8Array {
  const header = Buffer.alloc(3);
  header.writeUIntLE(size * 8 + (last ? 1 : 0), 0, 3);
  return header;
}
