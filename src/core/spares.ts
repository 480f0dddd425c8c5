/**
 * Buffers of one size that are used again: a fresh one costs more, in page faults and in garbage that lies outside V8's heap, than
 * what goes into it. What was given back is the next user's; whoever gives it back keeps nothing of it.
 */
export class Spares {
  readonly #size: number;
  readonly #most: number;
  readonly #spare: Uint8Array[] = [];

  /** @param size bytes of each buffer  @param most buffers kept while nobody uses them */
  constructor(size: number, most: number) {
    this.#size = size;
    this.#most = most;
  }

  /** At least `bytes`; of the one size, unless that is too small. What was in it before is still in it. */
  take(bytes = this.#size): Uint8Array {
    return bytes > this.#size ? new Uint8Array(bytes) : (this.#spare.pop() ?? new Uint8Array(this.#size));
  }

  give(buffer: Uint8Array): void {
    if (buffer.byteLength === this.#size && this.#spare.length < this.#most) this.#spare.push(buffer);
  }
}
