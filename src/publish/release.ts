import { join } from 'node:path';
import { MANIFEST_FORMAT, checkManifest } from '../core/manifest.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import { ShoalError } from '../core/errors.ts';
import { parseName } from '../core/names.ts';
import { verifyChunk, verifyPage } from '../merkle/verify.ts';
import { isLeaf } from '../merkle/page.ts';
import type { ObjectId } from '../core/ids.ts';
import { zstdDecompressAsync } from '../kernel/zstd.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { Lease, Run, StoreReader, StoreWriter } from '../store/types.ts';
import { acceptStaged } from '../trust/repository/accept.ts';
import type { AcceptReport } from '../trust/repository/accept.ts';
import type { TrustHome } from '../trust/repository/home.ts';
import { nextSequence, stageRelease } from '../trust/repository/stage.ts';
import type { StageReport } from '../trust/repository/stage.ts';
import { ingestArtifact } from './artifact.ts';
import type { ArtifactInput, IngestOptions } from './artifact.ts';

export interface ReleaseInput {
  readonly product: string;
  readonly version: string;
  readonly artifacts: readonly ArtifactInput[];
  readonly hardware?: readonly string[];
  readonly minimumSource?: number;
  readonly requiredFeatures?: readonly string[];
}

export interface PublishOptions extends IngestOptions {
  /** How long the content is held in the store while no release refers to it yet. Default 0: not at all. */
  readonly holdMs?: number;
}

export interface PublishReport {
  readonly manifest: ReleaseManifest;
  readonly staged: StageReport;
  /** Bytes the store took: what was new, compressed. */
  readonly addedBytes: number;
  /** To be released once the release is accepted. */
  readonly hold: Lease;
}

/** Between content and the metadata that refers to it: seconds in practice, and a crash in between costs space for so long. */
const ACCEPT_HOLD_MS = 3_600_000;

/**
 * Brings the files of a release into `store` and signs its manifest into the staging directory `staging`. Needs the
 * offline keys of `home` and no network. Nothing is visible to a device until the staging is accepted.
 */
export async function publishRelease(home: TrustHome, store: StoreWriter, staging: string, input: ReleaseInput, options: PublishOptions): Promise<PublishReport> {
  // What a person got wrong is said before hours of reading, not after.
  parseName('product', input.product);
  parseName('version', input.version);
  for (const id of input.hardware ?? []) parseName('hardware', id);
  const names = input.artifacts.map(({ name }) => parseName('artifact', name));
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new ShoalError('BAD_NAME', `two files of this release are called ${twice}: devices tell them apart by their names`, { ids: { name: twice }, hint: 'Give one of them another name: NAME=FILE.' });
  const sequence = await nextSequence(home, input.product, input.version);
  const batch = await store.begin();
  try {
    const ingested = [];
    for (const artifact of input.artifacts) ingested.push(await ingestArtifact(batch, artifact, options));
    const manifest = checkManifest({
      format: MANIFEST_FORMAT,
      namespace: options.namespace,
      product: input.product,
      version: input.version,
      sequence,
      minimumSource: input.minimumSource ?? 0,
      artifacts: ingested.map(({ record }) => record),
      hardware: input.hardware ?? [],
      requiredFeatures: input.requiredFeatures ?? [],
    });
    const hold = await batch.commit(ingested.map(({ stored }) => stored), options.holdMs);
    const addedBytes = ingested.reduce((sum, each) => sum + each.addedBytes, 0);
    try {
      return { manifest, staged: await stageRelease(home, staging, [manifest]), hold, addedBytes };
    } catch (error) {
      await hold.release();
      throw error;
    }
  } catch (error) {
    await batch.abort();
    throw error;
  }
}

/** Where the content of a staging directory lies when it did not go into the server's own store. */
export function stagedStore(staging: string): string {
  return join(staging, 'store');
}

export interface AcceptReleaseOptions {
  /** Runs when the content is all there and nothing of it is visible yet; what it throws ends the acceptance. */
  readonly beforeVisible?: (releases: readonly ReleaseManifest[]) => Promise<void>;
  /** How long that may take, milliseconds. */
  readonly beforeMs?: number;
}

/**
 * Makes a staged release visible on the server of `home`. `from` is the staging's own store; undefined when the content
 * went into `store` directly. Every byte is verified on its way, and an incomplete artifact is refused by the store.
 */
export async function acceptRelease(home: TrustHome, staging: string, store: StoreWriter, from: StoreReader | undefined, options: AcceptReleaseOptions = {}): Promise<AcceptReport> {
  const holds: Lease[] = [];
  try {
    return await acceptStaged(home, staging, {
      content: async (releases) => {
        const batch = await store.begin();
        try {
          const stored = [];
          for (const { namespace, artifacts } of releases) {
            for (const { root, size } of artifacts) {
              const spans = from === undefined ? await spansOf(store, root) : await copyArtifact(from, batch, root);
              stored.push({ namespace, root, size, spans });
            }
          }
          holds.push(await batch.commit(stored, ACCEPT_HOLD_MS + (options.beforeMs ?? 0)));
        } catch (error) {
          await batch.abort();
          throw error;
        }
        await options.beforeVisible?.(releases);
      },
    });
  } finally {
    for (const hold of holds) await hold.release();
  }
}

type Batch = Awaited<ReturnType<StoreWriter['begin']>>;

async function pageOf(store: StoreReader, id: ObjectId): Promise<ReturnType<typeof verifyPage>> {
  const encoded = await store.object('page', id);
  if (encoded === undefined) throw new ShoalError('STAGING_INCOMPLETE', `index page ${id.slice(0, 12)}… is not there`, { ids: { page: id } });
  return verifyPage(id, encoded);
}

async function spansOf(store: StoreReader, root: ObjectId): Promise<number> {
  const { page } = await pageOf(store, root);
  return isLeaf(page) ? 1 : page.spans;
}

/** Copies all pages and chunks below `root`. Returns the number of spans. */
async function copyArtifact(from: StoreReader, batch: Batch, root: ObjectId): Promise<number> {
  const verified = await pageOf(from, root);
  const { page } = verified;
  let spans = 0;
  if (isLeaf(page)) {
    await copySpan(from, batch, page.chunks);
    spans = 1;
  } else {
    for (const { id } of page.children) spans += await copyArtifact(from, batch, id);
  }
  await batch.putPage(verified);
  return spans;
}

/** Copies the chunks of one span. What lies compressed stays as it is: it took the publisher a while. */
async function copySpan(from: StoreReader, batch: Batch, chunks: readonly ChunkRef[]): Promise<void> {
  const runs = await from.runs(chunks.map(({ id }) => id), ['zstd', 'identity']);
  if (runs === undefined) throw await missingChunk(from, chunks);
  const most = chunks.reduce((sum, { length }) => sum + length, 0);
  let at = 0;
  for (const run of runs) {
    const stored = await bytesOf(run);
    const raw = run.coding === 'zstd' ? await zstdDecompressAsync(stored, most) : stored;
    const group = [];
    for (let offset = 0; offset < raw.byteLength; ) {
      const ref = chunks[at++];
      if (ref === undefined) break;
      group.push(verifyChunk(ref.id, raw.subarray(offset, (offset += ref.length))));
    }
    await batch.putSpan(group, run.coding === 'zstd' ? stored : undefined);
  }
}

async function bytesOf(run: Run): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of run.open()) pieces.push(piece.slice());
  return Buffer.concat(pieces);
}

async function missingChunk(from: StoreReader, chunks: readonly ChunkRef[]): Promise<ShoalError> {
  const here = await from.has(chunks.map(({ id }) => id));
  const id = chunks[here.indexOf(false)]?.id ?? '';
  return new ShoalError('STAGING_INCOMPLETE', `chunk ${id.slice(0, 12)}… is not there`, { ids: { chunk: id } });
}
