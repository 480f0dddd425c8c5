import { describe, expect, it } from 'vitest';
import { HASH_BYTES, blake3, blake3Pieces, blake3PiecesLater } from '../../src/kernel/hash.ts';
import { nobleHash } from '../../src/kernel/hash-noble.ts';
import { availableHashIsas, pieceHasher } from '../../src/kernel/hash-pieces.ts';
import { fc } from '../support/property.ts';

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** About every size at which leaves, blocks or lanes begin anew. */
const length = fc.oneof(fc.nat(200), fc.integer({ min: 1000, max: 1100 }), fc.integer({ min: 2040, max: 2060 }), fc.nat(20_000));

function pattern(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => (at * 7 + seed) % 251);
}

describe.each(availableHashIsas())('hashing many pieces at once, %s', (isa) => {
  it('gives what each piece alone gives', () => {
    const hasher = pieceHasher(isa);
    fc.assert(
      fc.property(fc.array(length, { maxLength: 12 }), fc.nat(250), (lengths, seed) => {
        const bytes = pattern(lengths.reduce((sum, each) => sum + each, 0), seed);
        const hashes = new Uint8Array(lengths.length * HASH_BYTES);
        hasher?.now(bytes, Uint32Array.from(lengths), hashes);
        let at = 0;
        expect(hex(hashes)).toBe(lengths.map((each) => hex(blake3(bytes.subarray(at, (at += each))))).join(''));
      }),
    );
  });

  it('gives the published hashes', () => {
    // From BLAKE3's published test vectors: the input of length n is 0, 1, … 250, 0, 1, …
    const published = {
      0: 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
      1024: '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7',
      1025: 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444',
    };
    for (const [size, hash] of Object.entries(published)) {
      const out = new Uint8Array(HASH_BYTES);
      pieceHasher(isa)?.now(Uint8Array.from({ length: Number(size) }, (_, at) => at % 251), Uint32Array.of(Number(size)), out);
      expect(hex(out)).toBe(hash);
    }
  });
});

describe('hashing pieces, whatever tier', () => {
  it('says the same now and later, and hashes what there is of pieces that are cut short', async () => {
    const bytes = pattern(10_000, 3);
    const lengths = [4000, 5000, 5000, 7];
    const expected = [bytes.subarray(0, 4000), bytes.subarray(4000, 9000), bytes.subarray(9000), bytes.subarray(10_000)].map((piece) => hex(nobleHash.hash(piece))).join('');
    expect(hex(blake3Pieces(bytes, lengths))).toBe(expected);
    expect(hex(await blake3PiecesLater(bytes, lengths))).toBe(expected);
    expect(await blake3PiecesLater(bytes, [])).toHaveLength(0);
  });
});
