import { ShoalError } from '../core/errors.ts';
import { SERVE_MAX_CHECKS, SPAN_MAX_BYTES } from '../core/limits.ts';
import { Spares } from '../core/spares.ts';
import { zstdDecompressAsync } from '../kernel/zstd.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunk, verifyChunksLater } from '../merkle/verify.ts';
import type { Run } from '../store/types.ts';
import { Turns } from '../core/turns.ts';

/** Blocks remembered as checked: a key is some 100 bytes. */
const CHECKED_MAX = 65_536;
/** What a chunk that two pieces share is put together in, and a block that is checked; larger ones than these are seldom. */
const parts = new Spares(256 * 1024, 32);
const blocks = new Spares(1024 * 1024, SERVE_MAX_CHECKS);

/**
 * Wraps stored runs so that what leaves has been verified. Identity: every chunk is hashed before its bytes go on. zstd:
 * a block is decoded and hashed the first time it is sent, then taken as good; the medium's own checksum guards it after
 * that, and the receiver hashes anyway.
 */
export class RunVerifier {
  readonly #turns = new Turns(SERVE_MAX_CHECKS);
  readonly #checked = new Set<string>();

  /** `chunks` are those the runs decode to, in order. Throws `RUNS_MISMATCH` when the runs end elsewhere than chunks do. */
  verified(runs: readonly Run[], chunks: readonly ChunkRef[]): readonly Run[] {
    let at = 0;
    const wrapped = runs.map((run) => {
      const from = at;
      for (let left = run.rawLength; left > 0; at++) {
        left -= chunks[at]?.length ?? Infinity;
        if (left < 0) throw mismatch();
      }
      const mine = chunks.slice(from, at);
      return { ...run, open: () => (run.coding === 'identity' ? verifiedChunks(run, mine) : this.#frames(run, mine)) };
    });
    if (at !== chunks.length) throw mismatch();
    return wrapped;
  }

  async *#frames(run: Run, chunks: readonly ChunkRef[]): AsyncGenerator<Uint8Array> {
    const key = `${chunks[0]?.id ?? ''} ${chunks.at(-1)?.id ?? ''} ${String(chunks.length)} ${String(run.storedLength)}`;
    if (!this.#checked.has(key)) {
      await this.#turns.run(() => checkFrames(run, chunks));
      for (const oldest of this.#checked) {
        if (this.#checked.size < CHECKED_MAX) break;
        this.#checked.delete(oldest);
      }
      this.#checked.add(key);
    }
    yield* run.open();
  }
}

async function checkFrames(run: Run, chunks: readonly ChunkRef[]): Promise<void> {
  const stored = blocks.take(run.storedLength);
  try {
    let at = 0;
    for await (const piece of run.open()) {
      if (at + piece.byteLength > run.storedLength) throw mismatch();
      stored.set(piece, at);
      at += piece.byteLength;
    }
    const raw = await zstdDecompressAsync(stored.subarray(0, at), Math.min(run.rawLength, SPAN_MAX_BYTES));
    if (raw.byteLength !== chunks.reduce((sum, { length }) => sum + length, 0)) throw mismatch();
    await verifyChunksLater(chunks, raw);
  } finally {
    blocks.give(stored);
  }
}

/** Pieces of `run`, cut so that each is whole chunks, every one of them hashed. Copies only what a piece cuts in two. */
async function* verifiedChunks(run: Pick<Run, 'open'>, chunks: readonly ChunkRef[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  let part: Uint8Array | undefined;
  let filled = 0;
  for await (const piece of run.open()) {
    let done = 0;
    let good = 0;
    while (at < chunks.length && done < piece.byteLength) {
      const whole: ChunkRef[] = [];
      const from = done;
      if (part === undefined) {
        for (let chunk = chunks[at]; chunk !== undefined && piece.byteLength - done >= chunk.length; chunk = chunks[++at]) {
          whole.push(chunk);
          done += chunk.length;
        }
      }
      if (whole.length > 0) await verifyChunksLater(whole, piece.subarray(from, done));
      const chunk = chunks[at];
      if (chunk === undefined || done === piece.byteLength) break;
      if (done > good) yield piece.subarray(good, done);
      part ??= parts.take(chunk.length);
      const take = Math.min(chunk.length - filled, piece.byteLength - done);
      part.set(piece.subarray(done, done + take), filled);
      filled += take;
      done += take;
      good = done;
      if (filled < chunk.length) continue;
      yield verifyChunk(chunk.id, part.subarray(0, chunk.length)).bytes;
      parts.give(part);
      part = undefined;
      filled = 0;
      at++;
    }
    if (done < piece.byteLength) throw mismatch();
    if (done > good) yield piece.subarray(good, done);
  }
  if (at !== chunks.length) throw mismatch();
}

function mismatch(): ShoalError {
  return new ShoalError('RUNS_MISMATCH', 'the stored bytes are not the chunks they were kept for', { retry: 'elsewhere' });
}
