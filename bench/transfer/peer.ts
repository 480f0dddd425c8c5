/** `peer.ts FILE`: a device that serves a file it has as one artifact, over the real surface, hashing every chunk as it leaves. */
import { open } from 'node:fs/promises';
import { Bitmap } from '../../src/core/bitmap.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { isLeaf } from '../../src/merkle/page.ts';
import type { ChunkRef } from '../../src/merkle/page.ts';
import { verifyChunk } from '../../src/merkle/verify.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { StoreBatch } from '../../src/store/types.ts';

const [path = ''] = process.argv.slice(2);
const PIECE_BYTES = 256 * 1024;

const pages = new Map<ObjectId, Uint8Array>();
const spans: { readonly offset: number; readonly chunks: readonly ChunkRef[] }[] = [];
let size = 0;
const index: Pick<StoreBatch, 'putSpan' | 'putPage'> = {
  putSpan: () => Promise.resolve(0),
  putPage: ({ id, page, encoded }) => {
    pages.set(id, encoded);
    if (isLeaf(page)) {
      spans.push({ offset: size, chunks: page.chunks });
      size += page.bytes;
    }
    return Promise.resolve();
  },
};
const { record } = await ingestArtifact(index as StoreBatch, { path, name: 'bench' }, { namespace: 'default' });
const file = await open(path);
const key = { namespace: 'default', root: record.root };
const all = new Bitmap(spans.length);
for (const position of spans.keys()) all.add(position);
const free: Uint8Array[] = [];

/** Whole chunks, as many as a piece holds; the piece's memory is used again when the next one is asked for. */
async function* verified(offset: number, chunks: readonly ChunkRef[]): AsyncGenerator<Uint8Array> {
  const buffer = free.pop() ?? new Uint8Array(4 * PIECE_BYTES);
  try {
    for (let at = 0, from = offset; at < chunks.length; ) {
      const first = at;
      let length = 0;
      for (let chunk = chunks[at]; chunk !== undefined && (length === 0 || length + chunk.length <= PIECE_BYTES); chunk = chunks[++at]) length += chunk.length;
      await file.read(buffer, 0, length, from);
      let good = 0;
      for (const chunk of chunks.slice(first, at)) verifyChunk(chunk.id, buffer.subarray(good, (good += chunk.length)));
      yield buffer.subarray(0, length);
      from += length;
    }
  } finally {
    free.push(buffer);
  }
}

const holding = { key, size, spans: all };
const content: ContentProvider = {
  holdings: () => Promise.resolve([holding]),
  holding: () => Promise.resolve(holding),
  page: (_, id) => Promise.resolve(pages.get(id)),
  span: (_, number) => {
    const span = spans[number];
    if (span === undefined) return Promise.resolve(undefined);
    const rawLength = span.chunks.reduce((sum, { length }) => sum + length, 0);
    return Promise.resolve([{ coding: 'identity', storedLength: rawLength, rawLength, open: () => verified(span.offset, span.chunks) }]);
  },
};
const surface = await createSurface({ role: 'agent', version: '0', content });
const url = await surface.listen('127.0.0.1', 0);
console.log(JSON.stringify({ url, record }));
process.stdin.resume().on('end', () => {
  console.log(JSON.stringify({ rssMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));
  process.exit(0);
});
