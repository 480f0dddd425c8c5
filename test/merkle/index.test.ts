import { describe, expect, it } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { INNER_FANOUT } from '../../src/core/limits.ts';
import { IndexBuilder } from '../../src/merkle/build.ts';
import type { BuiltIndex } from '../../src/merkle/build.ts';
import { decodePage, encodePage, isLeaf, makeInner, makeLeaf } from '../../src/merkle/page.ts';
import type { ChunkRef } from '../../src/merkle/page.ts';
import { IndexReader } from '../../src/merkle/reader.ts';
import type { PageSource } from '../../src/merkle/reader.ts';
import { VerifiedChunk, sealChunk, sealPage, verifyChunk, verifyPage } from '../../src/merkle/verify.ts';
import { fc } from '../support/property.ts';

class Pages implements PageSource {
  readonly encoded = new Map<ObjectId, Uint8Array>();
  fetched = 0;

  page(id: ObjectId): Promise<Uint8Array> {
    this.fetched++;
    const bytes = this.encoded.get(id);
    return bytes === undefined ? Promise.reject(new Error(`no page ${id}`)) : Promise.resolve(bytes);
  }
}

/** A chunk reference that no bytes stand behind: the index never looks at content. */
function ref(n: number, length = 1000): ChunkRef {
  return { id: n.toString(16).padStart(64, '0') as ObjectId, length };
}

async function build(spans: readonly (readonly ChunkRef[])[]): Promise<{ pages: Pages; index: BuiltIndex }> {
  const pages = new Pages();
  const builder = new IndexBuilder((page) => void pages.encoded.set(page.id, page.encoded));
  for (const chunks of spans) await builder.addSpan(chunks);
  return { pages, index: await builder.finish() };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isShoalError(error)) return error.code;
    throw error;
  }
  return 'no error';
}

const numbered = (count: number): ChunkRef[][] => Array.from({ length: count }, (_, span) => [ref(2 * span + 1, 700), ref(2 * span + 2, 300 + (span % 5))]);

describe('index', () => {
  // Around one full level-1 page, and around 256 of them, are the places where levels begin.
  it.each([0, 1, 2, INNER_FANOUT - 1, INNER_FANOUT, INNER_FANOUT + 1, 2 * INNER_FANOUT, 600])('reads back %i spans by number and by byte', async (count) => {
    const spans = numbered(count);
    const { pages, index } = await build(spans);
    expect(index.spans).toBe(count);
    const reader = await IndexReader.open(index.root, index.bytes, pages);
    let offset = 0;
    for (const [number, chunks] of spans.entries()) {
      const span = await reader.span(number);
      const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
      expect(span).toMatchObject({ index: number, offset, bytes });
      expect((await reader.leaf(span)).chunks).toEqual(chunks);
      expect(await reader.spanAt(offset)).toEqual(span);
      expect(await reader.spanAt(offset + bytes - 1)).toEqual(span);
      offset += bytes;
    }
    expect(reader.bytes).toBe(offset);
    expect(await codeOf(reader.span(count))).toBe('NO_SUCH_SPAN');
    expect(await codeOf(reader.spanAt(offset))).toBe('OUT_OF_RANGE');
  });

  it('needs one page per level for any byte, of 66,000 spans too', async () => {
    const { pages, index } = await build(Array.from({ length: INNER_FANOUT ** 2 + 500 }, (_, span) => [ref(span + 1, 1000)]));
    pages.fetched = 0;
    const reader = await IndexReader.open(index.root, index.bytes, pages);
    const span = await reader.spanAt(65_000_123);
    await reader.leaf(span);
    expect(span.index).toBe(65_000);
    expect(pages.fetched).toBe(4); // top at level 3, then 2, then 1, then the leaf
    expect(await reader.proof(65_000)).toHaveLength(4);
    expect((await reader.proof(65_000)).at(-1)).toBe(span.leaf);
  });

  it('gives the same content the same root, and any other content another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fc.record({ n: fc.nat(50), length: fc.integer({ min: 1, max: 1000 }) }), { minLength: 1, maxLength: 4 }), { maxLength: 8 }), fc.nat(), async (raw, pick) => {
        const spans = raw.map((chunks) => chunks.map(({ n, length }) => ref(n, length)));
        const { index } = await build(spans);
        expect((await build(spans)).index).toEqual(index);
        if (spans.length === 0) return;
        const at = pick % spans.length;
        const altered = spans.map((chunks, span) => (span === at ? [...chunks, ref(51, 1)] : chunks));
        expect((await build(altered)).index.root).not.toBe(index.root);
      }),
    );
  });

  it('refuses an index whose size is not the signed one', async () => {
    const { pages, index } = await build(numbered(3));
    expect(await codeOf(IndexReader.open(index.root, index.bytes + 1, pages))).toBe('INDEX_SIZE');
  });

  it('refuses a leaf as top page, a level too many, and a page in the place of another', async () => {
    const { pages } = await build(numbered(3));
    const leaf = sealPage(makeLeaf([ref(1)]));
    pages.encoded.set(leaf.id, leaf.encoded);
    expect(await codeOf(IndexReader.open(leaf.id, undefined, pages))).toBe('BAD_PAGE');

    const low = sealPage(makeInner(1, [{ id: leaf.id, bytes: 1000, spans: 1 }]));
    pages.encoded.set(low.id, low.encoded);
    const tall = sealPage(makeInner(2, [{ id: low.id, bytes: 1000, spans: 1 }]));
    pages.encoded.set(tall.id, tall.encoded);
    expect(await codeOf(IndexReader.open(tall.id, undefined, pages))).toBe('BAD_PAGE');

    const lying = sealPage(makeInner(1, [{ id: leaf.id, bytes: 999, spans: 1 }]));
    pages.encoded.set(lying.id, lying.encoded);
    const reader = await IndexReader.open(lying.id, undefined, pages);
    expect(await codeOf(reader.leaf(await reader.span(0)))).toBe('BAD_PAGE');

    pages.encoded.set(leaf.id, low.encoded);
    const honest = await IndexReader.open(low.id, undefined, pages);
    expect(await codeOf(honest.leaf(await honest.span(0)))).toBe('PAGE_MISMATCH');
  });

  it('refuses an entry that says of a page what another entry of the same page does not', async () => {
    const pages = new Pages();
    const put = (encoded: Uint8Array): ObjectId => {
      const { id } = sealPage(decodePage(encoded));
      pages.encoded.set(id, encoded);
      return id;
    };
    const leaf = put(encodePage(makeLeaf([ref(1)])));
    const full = makeInner(1, Array.from({ length: INNER_FANOUT }, () => ({ id: leaf, bytes: 1000, spans: 1 })));
    const entry = { id: put(encodePage(full)), bytes: full.bytes, spans: full.spans };
    const root = put(encodePage(makeInner(2, [entry, { ...entry, bytes: entry.bytes + 1 }])));
    const reader = await IndexReader.open(root, undefined, pages);
    await reader.span(0);
    expect(await codeOf(reader.span(INNER_FANOUT))).toBe('BAD_PAGE');
  });

  it('finds every single flipped bit of every page', async () => {
    const { pages } = await build(numbered(2));
    for (const [id, encoded] of pages.encoded) {
      for (let bit = 0; bit < encoded.byteLength * 8; bit++) {
        const flipped = encoded.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => verifyPage(id, flipped)).toThrow();
      }
    }
  });
});

describe('page codec', () => {
  it('never accepts bytes it would not write, whatever it is given', () => {
    const start = encodePage(makeLeaf([ref(1), ref(2)]));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }), fc.integer({ min: -40, max: 40 }), (edits, grow) => {
        const bytes = Buffer.concat([start, Buffer.alloc(Math.max(0, grow))]).subarray(0, start.byteLength + grow);
        for (const [at, value] of edits) if (at < bytes.byteLength) bytes[at] = value;
        try {
          expect(Buffer.compare(encodePage(decodePage(bytes)), bytes)).toBe(0);
        } catch (error) {
          expect(isShoalError(error)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('makes no lawful page of unlawful parts', () => {
    const page = { id: ref(1).id, bytes: 1000, spans: 1 };
    const unlawful: (() => unknown)[] = [
      () => makeLeaf([]),
      () => makeLeaf([ref(1, 0)]),
      () => makeLeaf([ref(1, 2 ** 20 + 1)]),
      () => makeLeaf(Array.from({ length: 5 }, (_, n) => ref(n, 2 ** 20))),
      () => makeInner(0, [page]),
      () => makeInner(5, [page]),
      () => makeInner(2, []),
      () => makeInner(1, [{ ...page, spans: 2 }]),
      () => makeInner(1, [{ ...page, bytes: 0 }]),
      () => makeInner(1, [{ ...page, bytes: 2 ** 22 + 1 }]),
      () => makeInner(2, [{ ...page, spans: 255, bytes: 255_000 }, page]),
      () => makeInner(1, Array.from({ length: INNER_FANOUT + 1 }, () => page)),
    ];
    for (const make of unlawful) expect(make).toThrow(expect.objectContaining({ code: 'BAD_PAGE' }) as Error);
  });

  it('separates leaf pages, inner pages and chunks with the same bytes', () => {
    const leaf = sealPage(makeLeaf([ref(1)]));
    expect(isLeaf(leaf.page)).toBe(true);
    expect(sealChunk(leaf.encoded).id).not.toBe(leaf.id);
  });
});

describe('verified chunks', () => {
  it('are made by hashing and by nothing else', () => {
    const bytes = Buffer.from('shoal');
    const { id } = sealChunk(bytes);
    expect(verifyChunk(id, bytes).bytes).toBe(bytes);
    expect(() => verifyChunk(id, Buffer.from('shoaL'))).toThrow(expect.objectContaining({ code: 'CHUNK_MISMATCH', retry: 'elsewhere' }) as Error);
    const Forge = VerifiedChunk as unknown as new (mint: symbol, id: ObjectId, bytes: Uint8Array) => VerifiedChunk;
    expect(() => new Forge(Symbol('verified'), id, bytes)).toThrow(TypeError);
  });
});
