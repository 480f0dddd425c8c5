import { describe, expect, it } from 'vitest';
import { blake3, blake3Keyed, createHasher } from '../../src/kernel/hash.ts';
import { loadNativeHash } from '../../src/kernel/hash-native.ts';
import { nobleHash } from '../../src/kernel/hash-noble.ts';
import type { HashTier } from '../../src/kernel/hash-tier.ts';
import { loadWasmHash } from '../../src/kernel/hash-wasm.ts';
import { fc } from '../support/property.ts';

// From BLAKE3's published test vectors: the input of length n is 0, 1, … 250, 0, 1, …; the key is the sentence below.
const KEY = new TextEncoder().encode('whats the Elvish word for friend');
const VECTORS = [
  {
    length: 0,
    hash: 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
    keyed: '92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26',
  },
  {
    length: 1,
    hash: '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213',
    keyed: '6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b',
  },
  // One BLAKE3 chunk exactly, and one byte more: the first tree node.
  {
    length: 1024,
    hash: '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7',
    keyed: '75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4',
  },
  {
    length: 1025,
    hash: 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444',
    keyed: '357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69',
  },
] as const;

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => at % 251);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const native = loadNativeHash();
const wasm = await loadWasmHash();
const tiers = new Map<string, HashTier>([['noble', nobleHash]]);
if (typeof native !== 'string') tiers.set('native', native);
if (typeof wasm !== 'string') tiers.set('wasm', wasm);
tiers.set('chosen', { hash: blake3, keyed: blake3Keyed, hasher: createHasher });

describe.each([...tiers])('BLAKE3, %s tier', (_, tier) => {
  it.each(VECTORS)('gives the published hash of $length bytes', ({ length, hash, keyed }) => {
    expect(hex(tier.hash(pattern(length)))).toBe(hash);
    expect(hex(tier.keyed(KEY, pattern(length)))).toBe(keyed);
  });

  it('agrees with the oracle in one go and in pieces, keyed and not', () => {
    // 8 KiB crosses the widths of every SIMD path (1, 4, 8 chunks of 1 KiB).
    const bytes = fc.uint8Array({ maxLength: 8 * 1024, size: 'max' });
    fc.assert(
      fc.property(bytes, fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(), (input, key, cut) => {
        const at = input.length === 0 ? 0 : cut % input.length;
        const plain = nobleHash.hash(input);
        const keyed = nobleHash.keyed(key, input);
        expect(hex(tier.hash(input))).toBe(hex(plain));
        expect(hex(tier.keyed(key, input))).toBe(hex(keyed));
        // The two hashers take turns, so that shared state would show.
        const one = tier.hasher().update(input.subarray(0, at));
        const two = tier.hasher(key).update(input.subarray(0, at));
        const three = tier.hasher().update(input);
        one.update(input.subarray(at));
        expect(hex(three.digest())).toBe(hex(plain));
        two.update(input.subarray(at));
        expect(hex(one.digest())).toBe(hex(plain));
        expect(hex(two.digest())).toBe(hex(keyed));
      }),
      { numRuns: 60 },
    );
  });

  it('hashes a view of a larger buffer, not the buffer', () => {
    const whole = pattern(4096);
    expect(hex(tier.hash(whole.subarray(100, 1124)))).toBe(hex(nobleHash.hash(whole.slice(100, 1124))));
  });

  it('leaves earlier results alone', () => {
    const first = tier.hash(pattern(10));
    const copy = hex(first);
    tier.hash(pattern(11));
    expect(hex(first)).toBe(copy);
  });
});

it('refuses a key of another length than 32 bytes', () => {
  expect(() => blake3Keyed(new Uint8Array(31), new Uint8Array(1))).toThrowError(
    expect.objectContaining({ code: 'HASH_KEY' }),
  );
  expect(() => createHasher(new Uint8Array(33))).toThrowError(expect.objectContaining({ code: 'HASH_KEY' }));
});
