import { SPAN_MAX_BYTES } from '../core/limits.ts';

/**
 * Memory for the chunks of a span, used again and again: side by side, so that a span is one piece of memory and can be
 * compressed as it lies. Two spans' worth, because the chunk that ends a span may be the first of the next one.
 */
export class SpanBuffer {
  readonly #halves = [new Uint8Array(SPAN_MAX_BYTES), new Uint8Array(SPAN_MAX_BYTES)] as const;
  #half: 0 | 1 = 0;
  #at = 0;

  /**
   * Copies the next chunk behind the one before, or with `begins` to the beginning of the other half. The copy stays as
   * it is until the span after its own begins.
   */
  keep(bytes: Uint8Array, begins: boolean): Uint8Array {
    if (begins) {
      this.#half = this.#half === 0 ? 1 : 0;
      this.#at = 0;
    }
    const copy = this.#halves[this.#half].subarray(this.#at, this.#at + bytes.length);
    copy.set(bytes);
    this.#at += bytes.length;
    return copy;
  }
}
