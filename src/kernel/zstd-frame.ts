import { ShoalError } from '../core/errors.ts';
import { ZSTD_MAX_FRAMES } from '../core/limits.ts';

/** Where one zstd frame lies in a buffer and how much it can decompress to (RFC 8878, section 3.1). */
export interface ZstdFrame {
  readonly start: number;
  readonly end: number;
  /** The frame's own claim in bytes, or undefined when it makes none. */
  readonly contentSize: number | undefined;
  /** No decoder can get more bytes than this out of the frame, whatever it claims. */
  readonly maxContentSize: number;
}

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
/** RFC 8878, 3.1.1.2.4: a block decompresses to 128 KiB at most. */
const MAX_BLOCK_BYTES = 128 * 1024;
/** By Dictionary_ID_flag. */
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
/** By Frame_Content_Size_flag; 0 means 1 byte in a single-segment frame. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

export function corruptZstd(what: string, cause?: unknown): ShoalError {
  return new ShoalError('ZSTD_CORRUPT', `Damaged zstd data: ${what}.`, { retry: 'elsewhere', cause });
}

/**
 * Finds the frames in `bytes` without decompressing, skippable ones left out. Node's own zstd stops silently after
 * the first frame, and a bound on the output must hold before memory is spent: hence this reader.
 *
 * @throws ShoalError `ZSTD_CORRUPT` when the bytes do not end exactly where a frame ends
 */
export function zstdFrames(bytes: Uint8Array): readonly ZstdFrame[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: ZstdFrame[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw corruptZstd('cut short in a frame header');
    const magic = view.getUint32(at, true);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + view.getUint32(at + 4, true);
      if (at > bytes.length) throw corruptZstd('cut short in a skippable frame');
      continue;
    }
    if (magic !== MAGIC) throw corruptZstd('a frame does not begin as one');
    if (frames.length === ZSTD_MAX_FRAMES) throw corruptZstd(`more than ${ZSTD_MAX_FRAMES} frames`);
    const frame = readFrame(view, at);
    frames.push(frame);
    at = frame.end;
  }
  return frames;
}

function readFrame(view: DataView, start: number): ZstdFrame {
  const descriptor = view.getUint8(start + 4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const sizeBytes = sizeFlag === 0 && singleSegment ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
  const dictionaryBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
  const sizeAt = start + 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  let at = sizeAt + sizeBytes;
  if (at > view.byteLength) throw corruptZstd('cut short in a frame header');
  const contentSize = sizeBytes === 0 ? undefined : readContentSize(view, sizeAt, sizeBytes);
  let maxContentSize = 0;
  for (let last = false; !last;) {
    if (at + 3 > view.byteLength) throw corruptZstd('cut short in a block header');
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    last = (header & 1) !== 0;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === 3) throw corruptZstd('a block of the reserved type');
    // Raw and run-length blocks state what they decompress to; compressed ones do not.
    maxContentSize += type === 2 ? MAX_BLOCK_BYTES : size;
    at += 3 + (type === 1 ? 1 : size);
  }
  if ((descriptor & 4) !== 0) at += 4;
  if (at > view.byteLength) throw corruptZstd('cut short in a block');
  if (contentSize !== undefined && contentSize > maxContentSize) {
    throw corruptZstd('a frame claims more content than its blocks can hold');
  }
  return { start, end: at, contentSize, maxContentSize };
}

function readContentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  const size = view.getBigUint64(at, true);
  return size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(size);
}
