/** `peer.ts FILE`: a device that serves a file it has as one artifact, over the real surface, hashing every chunk as it leaves. */
import { open } from 'node:fs/promises';
import { Bitmap } from '../../src/core/bitmap.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { isLeaf } from '../../src/merkle/page.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import { FileContent } from '../../src/serve/file-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { StoreBatch } from '../../src/store/types.ts';

const [path = ''] = process.argv.slice(2);

const pages = new Map<ObjectId, Uint8Array>();
let spans = 0;
const index: Pick<StoreBatch, 'putSpan' | 'putPage'> = {
  putSpan: () => Promise.resolve(0),
  putPage: ({ id, page, encoded }) => {
    pages.set(id, encoded);
    if (isLeaf(page)) spans++;
    return Promise.resolve();
  },
};
const { record } = await ingestArtifact(index, { path, name: 'bench' }, { namespace: 'default' });
const file = await open(path);
const all = new Bitmap(spans);
for (let span = 0; span < spans; span++) all.add(span);
const content = new FileContent();
content.add({
  key: { namespace: 'default', root: record.root },
  size: record.size,
  spans: all,
  page: (id) => Promise.resolve(pages.get(id)),
  read: async (into, offset) => (await file.read(into, 0, into.byteLength, offset)).bytesRead,
});
const surface = await createSurface({ role: 'agent', version: '0', content });
const url = await surface.listen('127.0.0.1', 0);
console.log(JSON.stringify({ url, record }));
process.stdin.resume().on('end', () => {
  console.log(JSON.stringify({ rssMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));
  process.exit(0);
});
