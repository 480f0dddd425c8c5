/** The other side of `HashThread`: hashes pieces of what it is given and gives it back. */
import { parentPort } from 'node:worker_threads';
import { HASH_BYTES, blake3 } from './hash.ts';
import type { HashJob, HashResult } from './hash-thread.ts';

const port = parentPort;
port?.on('message', ({ bytes, lengths }: HashJob) => {
  const hashes = new Uint8Array(lengths.length * HASH_BYTES);
  let at = 0;
  for (const [index, length] of lengths.entries()) hashes.set(blake3(bytes.subarray(at, (at += length))), index * HASH_BYTES);
  const result: HashResult = { bytes, hashes };
  port.postMessage(result, [bytes.buffer as ArrayBuffer, hashes.buffer]);
});
