import { describe, expect, it } from 'vitest';
import { SpanGrouper, type SpanMember, groupSpans } from '../../src/chunk/spans.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { CHUNK_MAX_BYTES, SPAN_MAX_BYTES, SPAN_MIN_BYTES } from '../../src/core/limits.ts';
import { fc } from '../support/property.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const member = (byte: number, length: number): SpanMember => ({ id: byte.toString(16).padStart(2, '0').padEnd(64, '7') as ObjectId, length });
const bytesOf = (span: readonly SpanMember[]): number => span.reduce((sum, { length }) => sum + length, 0);
const arbitraryChunk = fc.tuple(fc.nat(255), fc.oneof(fc.integer({ min: 1, max: 256 * KiB }), fc.constant(CHUNK_MAX_BYTES))).map(([byte, length]) => member(byte, length));

describe('spans', () => {
  it('hold every chunk once, in order, and 1 to 4 MiB but for the last', () => {
    fc.assert(
      fc.property(fc.array(arbitraryChunk, { maxLength: 400 }), (chunks) => {
        const spans = groupSpans(chunks);
        expect(spans.flat()).toEqual(chunks);
        for (const [index, span] of spans.entries()) {
          expect(bytesOf(span)).toBeLessThanOrEqual(SPAN_MAX_BYTES);
          if (index < spans.length - 1) expect(bytesOf(span)).toBeGreaterThanOrEqual(SPAN_MIN_BYTES);
        }
      }),
    );
  });

  it('end after a chunk whose first byte has a zero low half, from 1 MiB on', () => {
    const chunk = (byte: number): SpanMember => member(byte, 256 * KiB);
    // 0xa0 at 3 × 256 KiB is too early; at 4 × 256 KiB = 1 MiB it ends the span; 0x0a does not.
    expect(groupSpans([0xa0, 0xa0, 0xa0, 0xa0, 0x11].map(chunk)).map((span) => span.length)).toEqual([4, 1]);
    expect(groupSpans([0x0a, 0x0a, 0x0a, 0x0a, 0x0a].map(chunk)).map((span) => span.length)).toEqual([5]);
  });

  it('are closed before a chunk that would take them above 4 MiB, and not before exactly 4 MiB', () => {
    const chunks = Array.from({ length: 17 }, () => member(0x11, 256 * KiB));
    expect(groupSpans(chunks).map((span) => span.length)).toEqual([16, 1]);
    // No room, and the chunk is a span by itself: two spans close at once.
    const grouper = new SpanGrouper<SpanMember>();
    for (const chunk of chunks.slice(0, 16)) expect(grouper.add(chunk)).toEqual([]);
    expect(grouper.add(member(0x20, MiB)).map((span) => span.length)).toEqual([16, 1]);
    expect(grouper.end()).toBeUndefined();
  });

  it('are the same again soon after a change', () => {
    // 4,096 chunks of 64 KiB; ids from a fixed linear generator. Mean span 2 MiB: 64 chunks cover several ends.
    let state = 1;
    const next = (): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 16;
    const chunks = Array.from({ length: 4096 }, () => member(next() & 255, 48 * KiB + (next() & 0x7fff)));
    for (const at of [5, 1000, 2011, 3333]) {
      const changed = [...chunks.slice(0, at), member(0x33, 70_000), member(0x35, 90_000), ...chunks.slice(at + 1)];
      const ends = (list: readonly SpanMember[], shift: number): Set<number> => {
        let position = 0;
        return new Set(groupSpans(list).map((span) => (position += span.length) - shift));
      };
      const before = [...ends(chunks, 0)];
      const after = ends(changed, 1);
      const kept = before.filter((end) => after.has(end));
      expect(kept.some((end) => end > at && end <= at + 200)).toBe(true);
      expect(before.filter((end) => end > at + 200).every((end) => after.has(end))).toBe(true);
    }
  });

  it('refuse a chunk of no or too many bytes', () => {
    for (const length of [0, CHUNK_MAX_BYTES + 1, 1.5]) {
      expect(() => new SpanGrouper().add(member(1, length))).toThrow(expect.objectContaining({ code: 'CHUNK_SIZE' }));
    }
  });
});
