import { HTTP_CHUNK_LINE_MAX_BYTES, HTTP_TRAILER_MAX_BYTES } from '../core/limits.ts';
import { malformed } from './http-head.ts';

type Phase = 'size' | 'data' | 'data-end' | 'trailer' | 'done';

const CR = 0x0d;
const LF = 0x0a;
/** Chunk extensions are allowed and ignored (RFC 9112, 7.1.1); 8 digits of size are 4 GiB, more than any body we take. */
const SIZE_LINE = /^([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/;

/**
 * Decodes a body in chunked transfer coding (RFC 9112, 7.1), however the bytes are cut. Our own hosts never send one;
 * a proxy or a CDN between may. Lines and trailers are bounded; trailers are read and dropped.
 */
export class ChunkedDecoder {
  readonly #put: (bytes: Uint8Array) => void;
  #phase: Phase = 'size';
  #left = 0;
  #line: number[] = [];
  #trailerBytes = 0;

  /** `put` takes the decoded bytes; they are a view that is valid during the call only. It may throw to refuse them. */
  constructor(put: (bytes: Uint8Array) => void) {
    this.#put = put;
  }

  get done(): boolean {
    return this.#phase === 'done';
  }

  /** Takes the next bytes. Returns how many it used: fewer than given only once `done`. Throws `HTTP_MALFORMED`. */
  push(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.byteLength && this.#phase !== 'done') {
      if (this.#phase === 'data') {
        const piece = bytes.subarray(at, at + this.#left);
        this.#put(piece);
        at += piece.byteLength;
        this.#left -= piece.byteLength;
        if (this.#left === 0) this.#phase = 'data-end';
      } else {
        this.#byte(bytes[at] ?? 0);
        at++;
      }
    }
    return at;
  }

  #byte(byte: number): void {
    if (byte !== LF) {
      if (this.#line.length >= HTTP_CHUNK_LINE_MAX_BYTES) throw malformed('a line of the chunked body is too long');
      this.#line.push(byte);
      if (this.#phase === 'trailer' && ++this.#trailerBytes > HTTP_TRAILER_MAX_BYTES) throw malformed('the trailer is too long');
      return;
    }
    if (this.#line.pop() !== CR) throw malformed('a line of the chunked body does not end with CRLF');
    const line = Buffer.from(this.#line).toString('latin1');
    this.#line = [];
    this.#endOfLine(line);
  }

  #endOfLine(line: string): void {
    if (this.#phase === 'data-end') {
      if (line !== '') throw malformed('a chunk is longer than it said');
      this.#phase = 'size';
    } else if (this.#phase === 'trailer') {
      if (line === '') this.#phase = 'done';
    } else {
      const size = SIZE_LINE.exec(line);
      if (size === null) throw malformed('a chunk size was expected');
      this.#left = Number.parseInt(size[1] ?? '', 16);
      this.#phase = this.#left === 0 ? 'trailer' : 'data';
    }
  }
}
