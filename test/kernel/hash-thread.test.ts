import { describe, expect, it } from 'vitest';
import { blake3 } from '../../src/kernel/hash.ts';
import { HashThread } from '../../src/kernel/hash-thread.ts';
import { randomBytes } from '../support/random.ts';

describe('a hashing thread', () => {
  it('hashes pieces, several jobs at once, and gives the memory back', async () => {
    const thread = new HashThread();
    const lengths = [1, 70_000, 0, 4_096];
    const jobs = [0, 1, 2].map(() => new Uint8Array(randomBytes(74_097 + 100)).subarray(50, 50 + 74_097));
    const copies = jobs.map((bytes) => bytes.slice());
    const results = await Promise.all(jobs.map((bytes) => thread.hash(bytes, lengths)));
    for (const [index, { bytes, hashes }] of results.entries()) {
      const copy = copies[index] ?? new Uint8Array();
      expect(jobs[index]?.byteLength).toBe(0);
      expect([Buffer.compare(bytes, copy), bytes.byteOffset]).toEqual([0, 50]);
      let at = 0;
      for (const [piece, length] of lengths.entries()) expect(Buffer.compare(hashes.subarray(piece * 32, piece * 32 + 32), blake3(copy.subarray(at, (at += length))))).toBe(0);
    }
    await thread.close();
  });

  it('fails what it was given when it ends', async () => {
    const thread = new HashThread();
    const failing = expect(thread.hash(new Uint8Array(1000), [1000])).rejects.toThrow('has ended');
    await thread.close();
    await failing;
    await expect(thread.hash(new Uint8Array(8), [8])).rejects.toThrow('has ended');
  });
});
