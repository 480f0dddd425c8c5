import { createCipheriv } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

const MiB = 1024 * 1024;
/** Each kind of content comes in runs of this many bytes: several spans, so that every span is of one kind or two. */
const RUN_BYTES = 16 * MiB;
/** Twenty runs, then again. What comes again is one of the runs before it, moved by some bytes so that chunks must find themselves. */
const KINDS = ['random', 'text', 'random', 'zeros', 'random', 'again', 'text', 'random', 'random', 'text', 'random', 'again', 'zeros', 'random', 'text', 'random', 'again', 'random', 'text', 'again'] as const;

/** Bytes that look random and depend on `seed` and `run` alone: AES-128 in counter mode over zeros. */
function randomRun(seed: number, run: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeUInt32BE(seed, 0);
  iv.writeUInt32BE(run, 4);
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), iv).update(Buffer.alloc(RUN_BYTES));
}

/** Lines of a log: no two are the same, and zstd makes a fifth of them. */
function textRun(seed: number, run: number): Buffer {
  const out = Buffer.alloc(RUN_BYTES);
  let state = (seed * 7919 + run * 104729) >>> 0;
  for (let at = 0; at < RUN_BYTES; ) {
    let lines = '';
    for (let line = 0; line < 1000; line++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      lines += `2026-01-01T00:00:00Z unit-${String(state % 97)} level=info message="request served" bytes=${String(state)} ms=${String(state % 1009)}\n`;
    }
    at += out.write(lines, at, 'latin1');
  }
  return out;
}

/** Writes `bytes` of mixed content to `path`: half incompressible, a quarter text, the rest zeros and what came before. The same for the same seed. */
export function writeMixed(path: string, bytes: number, seed = 1): void {
  const file = openSync(path, 'w');
  try {
    for (let run = 0, left = bytes; left > 0; run++, left -= RUN_BYTES) {
      const kind = KINDS[run % KINDS.length];
      let block: Buffer;
      if (kind === 'zeros') block = Buffer.alloc(RUN_BYTES);
      else if (kind === 'text') block = textRun(seed, run);
      else if (kind === 'again') {
        // Five runs back is 'random' each time; 4,099 is a prime, so no boundary is kept by accident.
        const before = randomRun(seed, run - 5);
        block = Buffer.concat([before.subarray(4_099), before.subarray(0, 4_099)]);
      } else block = randomRun(seed, run);
      writeSync(file, left < RUN_BYTES ? block.subarray(0, left) : block);
    }
  } finally {
    closeSync(file);
  }
}
