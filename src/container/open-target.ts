import { openedItems, openedSize } from './layout.ts';
import { contentOf } from './prove.ts';
import { pick } from './streams.ts';
import type { Streams } from './streams.ts';

/** Streams that are decoded before others may run. */
const AT_ONCE = 16;

/**
 * Makes the opened target (opened.ts) of what was decoded to be proven, so that nothing is decoded twice: what a stream holds goes where it would
 * lie if all that are tried were proven, and moves towards the beginning over those that were not.
 */
export class OpenedTarget {
  readonly #target: Uint8Array;
  readonly #streams: Streams;
  /** Where what each stream holds lies, by where the stream does; empty when there is no memory for all. */
  readonly #places = new Map<number, number>();
  readonly #kept = new Set<number>();
  #out: Buffer | undefined;
  readonly #size: number;

  /** `mostBytes`: what it may take. */
  constructor(target: Uint8Array, streams: Streams, tried: (n: number) => boolean, mostBytes: number) {
    this.#target = target;
    this.#streams = streams;
    const items = openedItems(pick(streams, tried), target.length);
    let at = 0;
    for (const { stream, at: place, length } of items) {
      if (stream >= 0) this.#places.set(place, at);
      at += length;
    }
    this.#size = at;
    if (at > mostBytes) this.#places.clear();
  }

  /** What stream `n` holds. It is copied. */
  keep(n: number, content: Uint8Array): void {
    const from = this.#streams.at[n] as number;
    const place = this.#places.get(from);
    if (place === undefined) return;
    // What is not touched takes no memory.
    this.#out ??= Buffer.allocUnsafeSlow(this.#size);
    this.#out.set(content, place);
    this.#kept.add(from);
  }

  /** The opened target with only these streams opened. Nothing can be kept afterwards. */
  async with(streams: Streams): Promise<Uint8Array> {
    const size = openedSize(streams, this.#target.length);
    const out = this.#out !== undefined && this.#places.size > 0 ? this.#out : Buffer.allocUnsafeSlow(size);
    let at = 0;
    // What has not been moved yet lies at its place or behind it: with fewer streams opened all others lie nearer to the beginning.
    for (const [number, { stream, at: from, length }] of openedItems(streams, this.#target.length).entries()) {
      if (number % AT_ONCE === 0) await new Promise(setImmediate);
      if (stream < 0) out.set(this.#target.subarray(from, from + length), at);
      else if (this.#kept.has(from)) {
        const place = this.#places.get(from) ?? at;
        if (place !== at) out.copyWithin(at, place, place + length);
      } else await contentOf(this.#target, streams, stream, out.subarray(at, at + length));
      at += length;
    }
    return out.subarray(0, size);
  }
}
