import { says } from './others.ts';
import type { WayFound } from './others.ts';
import { SearchThreads } from './search-threads.ts';
import type { Streams } from './streams.ts';

/**
 * What made the streams that are not deflate, found out by making them again, several at a time. What is found does not depend on how many
 * threads look: a batch goes by what was known before it.
 */

/** Content for which all ways are tried that there are; afterwards only those that have been right. */
const SEARCHED_BYTES = 2 * 1024 * 1024;
/** A way that has been wrong for so much content in a row is not tried any more: an image that nothing here makes costs no more than this for each. */
const MISSED_BYTES = 8 * 1024 * 1024;
/** Different codings in one delta: fewer than the manifest's table has room for. */
const MOST_WAYS = 100;
/** Content of a batch, or one stream that holds more; and streams. */
const BATCH_BYTES = 2 * 1024 * 1024;
const BATCH_STREAMS = 64;
/** Content for which threads are worth the 50 ms that they take to begin. */
const WORTH_THREADS = 1024 * 1024;

export interface ProvenOther {
  readonly n: number;
  readonly coding: number;
  readonly content: Uint8Array;
}

export interface ProveOthersOptions {
  /** Beside this one; with 0 all is done here. */
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
}

/** What made each of the streams `numbers`; nothing of those for which no way gives their very bytes. */
export async function* proveOthers(whole: Uint8Array, streams: Streams, numbers: readonly number[], { threads, signal }: ProveOthersOptions): AsyncGenerator<ProvenOther> {
  const known = new KnownWays();
  const search = new SearchThreads(numbers.reduce((sum, n) => sum + (streams.held[n] as number), 0) < WORTH_THREADS ? 0 : threads);
  try {
    for (let next = 0; next < numbers.length;) {
      signal?.throwIfAborted();
      const batch: number[] = [];
      for (let bytes = 0; next < numbers.length && batch.length < BATCH_STREAMS; next++) {
        const n = numbers[next] as number;
        if (!known.worthTrying(streams.coding[n] as number)) continue;
        bytes += streams.held[n] as number;
        if (batch.length > 0 && bytes > BATCH_BYTES) break;
        batch.push(n);
      }
      const found = await Promise.all(batch.map((n) => {
        const [at, size, held, hint] = [streams.at[n] as number, streams.size[n] as number, streams.held[n] as number, streams.coding[n] as number];
        return search.find({ bytes: whole.subarray(at, at + size), hint, held, ...known.of(hint) }, signal);
      }));
      for (const [i, n] of batch.entries()) {
        const { coding, content } = found[i] as WayFound;
        known.learn(streams.coding[n] as number, coding, streams.held[n] as number);
        if (coding !== undefined) yield { n, coding, content };
      }
    }
  } finally {
    await search.close();
  }
}

interface KnownWay {
  readonly way: number;
  /** Content that it made, and that it has not made since. */
  made: number;
  missed: number;
}

/** What made streams so far, by what these say of it themselves. */
class KnownWays {
  readonly #known = new Map<number, KnownWay[]>();
  readonly #searched = new Map<number, number>();
  readonly #used = new Set<number>();

  /** Whether anything is left that may have made such a stream. */
  worthTrying(hint: number): boolean {
    const { known, all } = this.of(hint);
    return all || known.length > 0;
  }

  /** What to try: what made most goes first. */
  of(hint: number): { readonly known: readonly number[]; readonly all: boolean } {
    const key = says(hint);
    return { known: (this.#known.get(key) ?? []).map(({ way }) => way), all: (this.#searched.get(key) ?? 0) < SEARCHED_BYTES && this.#used.size < MOST_WAYS };
  }

  learn(hint: number, coding: number | undefined, held: number): void {
    const key = says(hint);
    let known = this.#known.get(key) ?? [];
    let right = known.find(({ way }) => way === coding);
    // Sooner or later all ways are tried: what is known at once costs nothing.
    if (right === undefined && (coding === undefined || known.length > 0)) this.#searched.set(key, (this.#searched.get(key) ?? 0) + held);
    if (coding !== undefined && right === undefined) {
      right = { way: coding, made: 0, missed: 0 };
      known = [...known, right];
      this.#used.add(coding);
    }
    for (const each of known) {
      if (each === right) [each.made, each.missed] = [each.made + held, 0];
      // Behind one that was right nobody asked it.
      else if (right === undefined || each.made > right.made) each.missed += held;
    }
    this.#known.set(key, known.filter(({ missed }) => missed < MISSED_BYTES).sort((a, b) => b.made - a.made));
  }
}
