import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { isLeaf } from '../merkle/page.ts';
import { verifyPage } from '../merkle/verify.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { StoreBatch, StoreReader } from '../store/types.ts';
import { ingestArtifact } from './artifact.ts';
import type { IngestOptions } from './artifact.ts';

/** How an artifact is made up. Bytes throughout. */
export interface ArtifactSurvey {
  readonly root: ObjectId;
  readonly size: number;
  readonly spans: number;
  readonly chunks: number;
  /** Chunks that occur nowhere before in the artifact, and their bytes. */
  readonly distinctChunks: number;
  readonly distinctBytes: number;
  readonly shortest: number;
  readonly longest: number;
  readonly pages: number;
  readonly pageBytes: number;
}

class Tally {
  readonly seen = new Set<ObjectId>();
  chunks = 0;
  distinctBytes = 0;
  shortest = Infinity;
  longest = 0;
  pages = 0;
  pageBytes = 0;

  chunk(id: ObjectId, length: number): void {
    this.chunks++;
    this.shortest = Math.min(this.shortest, length);
    this.longest = Math.max(this.longest, length);
    if (this.seen.has(id)) return;
    this.seen.add(id);
    this.distinctBytes += length;
  }

  page(bytes: number): void {
    this.pages++;
    this.pageBytes += bytes;
  }

  survey(root: ObjectId, size: number, spans: number): ArtifactSurvey {
    const { chunks, seen, distinctBytes, longest, pages, pageBytes } = this;
    return { root, size, spans, chunks, distinctChunks: seen.size, distinctBytes, shortest: chunks === 0 ? 0 : this.shortest, longest, pages, pageBytes };
  }
}

/** Cuts and hashes a file as publishing would, and keeps nothing. Throws what `ingestArtifact` throws. */
export async function surveyFile(path: string, options: Pick<IngestOptions, 'onProgress' | 'signal'> = {}): Promise<ArtifactSurvey & { readonly sha256: string }> {
  const tally = new Tally();
  const nowhere: Pick<StoreBatch, 'putSpan' | 'putPage'> = {
    putSpan: (chunks) => {
      for (const { id, bytes } of chunks) tally.chunk(id, bytes.byteLength);
      return Promise.resolve(0);
    },
    putPage: ({ encoded }) => Promise.resolve(tally.page(encoded.byteLength)),
  };
  const { record, stored } = await ingestArtifact(nowhere, { path, name: 'surveyed' }, { namespace: 'surveyed', ...options });
  return { ...tally.survey(record.root, record.size, stored.spans), sha256: record.sha256 };
}

export interface StoredSurvey extends ArtifactSurvey {
  /** Bytes of distinct chunks that are among `before`: what a device with that content need not fetch. */
  readonly knownBytes: number;
  /** All chunks, to compare the next one with. */
  readonly ids: ReadonlySet<ObjectId>;
}

/** Walks the index of an artifact in a store. Throws `NO_SUCH_ARTIFACT` when a page of it is missing. */
export async function surveyStored(store: StoreReader, root: ObjectId, before: ReadonlySet<ObjectId> = new Set()): Promise<StoredSurvey> {
  const tally = new Tally();
  const page = async (id: ObjectId): Promise<Uint8Array> => {
    const encoded = await store.object('page', id);
    if (encoded === undefined) throw new ShoalError('NO_SUCH_ARTIFACT', `index page ${id.slice(0, 12)}… of ${root.slice(0, 12)}… is not in the store`, { ids: { root, page: id } });
    return encoded;
  };
  const index = await IndexReader.open(root, undefined, { page });
  for (const id of await index.innerPages()) tally.page((await page(id)).byteLength);
  let knownBytes = 0;
  for await (const span of index.allSpans()) {
    const encoded = await page(span.leaf);
    tally.page(encoded.byteLength);
    const leaf = verifyPage(span.leaf, encoded).page;
    if (!isLeaf(leaf)) continue;
    for (const { id, length } of leaf.chunks) {
      if (!tally.seen.has(id) && before.has(id)) knownBytes += length;
      tally.chunk(id, length);
    }
  }
  return { ...tally.survey(root, index.bytes, index.spans), knownBytes, ids: tally.seen };
}
