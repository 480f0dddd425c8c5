import type { ObjectId } from '../../src/core/ids.ts';
import { IndexBuilder } from '../../src/merkle/build.ts';
import { sealChunk, verifyChunk } from '../../src/merkle/verify.ts';
import type { VerifiedChunk, VerifiedPage } from '../../src/merkle/verify.ts';
import { whatIsMissing } from '../../src/store/reach.ts';
import type { StoreBatch, StoreReader, StoreWriter, StoredArtifact } from '../../src/store/types.ts';
import { randomFrom } from './random.ts';

export interface SampleArtifact extends StoredArtifact {
  readonly spansOfChunks: readonly (readonly VerifiedChunk[])[];
  readonly pages: readonly VerifiedPage[];
  readonly bytes: Uint8Array;
}

/** A chunk that a seed stands for: same seed, same chunk. Even seeds compress well, odd ones not at all. */
export function sampleChunk(seed: number, length = 2000): VerifiedChunk {
  const random = randomFrom(seed);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = seed % 2 === 0 ? (at % 61) + Math.floor(random() * 2) : Math.floor(random() * 256);
  bytes.set(new TextEncoder().encode(String(seed)));
  return sealChunk(bytes);
}

/** An artifact whose spans are lists of chunk seeds. Spans are far below the lawful minimum length: the index does not mind. */
export async function sampleArtifact(seeds: readonly (readonly number[])[], namespace = 'default', chunkBytes = 2000): Promise<SampleArtifact> {
  const pages: VerifiedPage[] = [];
  const builder = new IndexBuilder((page) => {
    pages.push(page);
  });
  const spansOfChunks = seeds.map((span) => span.map((seed) => sampleChunk(seed, chunkBytes)));
  for (const chunks of spansOfChunks) await builder.addSpan(chunks.map(({ id, bytes }) => ({ id, length: bytes.byteLength })));
  const built = await builder.finish();
  const bytes = Buffer.concat(spansOfChunks.flat().map((chunk) => chunk.bytes));
  return { namespace, root: built.root, size: built.bytes, spans: built.spans, spansOfChunks, pages, bytes };
}

/** Puts everything an artifact consists of. */
export async function putArtifact(batch: StoreBatch, artifact: SampleArtifact): Promise<void> {
  for (const chunks of artifact.spansOfChunks) await batch.putSpan(chunks);
  for (const page of artifact.pages) await batch.putPage(page);
}

export function storedOf({ namespace, root, size, spans }: StoredArtifact): StoredArtifact {
  return { namespace, root, size, spans };
}

export async function publish(store: StoreWriter, ...artifacts: readonly SampleArtifact[]): Promise<void> {
  const batch = await store.begin();
  for (const artifact of artifacts) await putArtifact(batch, artifact);
  await batch.commit(artifacts.map(storedOf));
}

/** Reads every page and chunk of an artifact and checks them; returns the ids that are missing or wrong. */
export async function missingFrom(store: StoreReader, artifact: StoredArtifact): Promise<readonly ObjectId[]> {
  const wanted: ObjectId[] = [];
  const missing = [
    ...(await whatIsMissing(artifact, (id) => store.object('page', id), (ids) => {
      wanted.push(...ids);
      return ids.map(() => true);
    })),
  ];
  for (const id of wanted) {
    const bytes = await store.chunk(id);
    if (bytes === undefined) missing.push(id);
    else verifyChunk(id, bytes);
  }
  return missing;
}
