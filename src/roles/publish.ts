import { join } from 'node:path';
import type { ReleaseManifest } from '../core/manifest.ts';
import type { ArtifactInput } from '../publish/artifact.ts';
import { acceptRelease, publishRelease, stagedStore } from '../publish/release.ts';
import type { DeltaOutcome } from '../publish/deltas.ts';
import { nodeFiles } from '../store/files.ts';
import { PackStore } from '../store/pack/store.ts';
import { DeltasFirst } from './deltas.ts';
import type { WishedDeltas } from './deltas.ts';
import { readConfig, trustHome } from '../trust/repository/home.ts';
import type { SignatureCount } from '../trust/repository/stage.ts';

export interface PublishFilesOptions {
  /** Home with the keys of the product. */
  readonly home: string;
  readonly product: string;
  readonly version: string;
  readonly artifacts: readonly ArtifactInput[];
  /** Exact hardware ids the release is for; any when none is named. */
  readonly hardware?: readonly string[];
  /** Lowest sequence a device must run already. */
  readonly minimumSource?: number;
  /** Only sign and pack into this directory. An offline home always does, into one of its own unless this names another. */
  readonly staging?: string;
  /** zstd level of what is stored, 1 to 19. Default 19: slow to make, small on every backhaul. */
  readonly level?: number;
  /** Bytes read so far of the file at hand, and its size. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
  /** Makes the deltas before devices are offered the release; by default `releaseDeltas` may be called afterwards. */
  readonly deltasFirst?: WishedDeltas;
}

export interface PublishFilesReport {
  readonly manifest: ReleaseManifest;
  /** Bytes the store took: what was new, compressed. */
  readonly addedBytes: number;
  readonly staging: string;
  readonly signatures: readonly SignatureCount[];
  /** Enough signatures everywhere. */
  readonly complete: boolean;
  /** What became of the deltas, when they were to be made first. */
  readonly deltas: readonly DeltaOutcome[];
  /** Devices are offered it now. Otherwise the staging directory is to be signed further, uploaded or accepted. */
  readonly published: boolean;
}

/** Content that waits in the store for further signatures. */
const HOLD_MS = 7 * 86_400_000;
const LEVEL = 19;

/** Chunks, stores and signs files as the next release of a product; in a whole home it is published at once. */
export async function publishFiles(options: PublishFilesOptions): Promise<PublishFilesReport> {
  const home = trustHome(options.home);
  const { namespace, part } = await readConfig(home);
  const staging = options.staging ?? join(home.paths.staging, `${options.product}-${options.version}`);
  // An offline home serves nothing: its content travels in the staging directory.
  const apart = options.staging !== undefined || part === 'offline';
  const store = await PackStore.open(apart ? stagedStore(staging) : home.paths.store, { level: options.level ?? LEVEL });
  try {
    const { onProgress, signal, product, version, artifacts, hardware, minimumSource } = options;
    const { manifest, staged, addedBytes, hold } = await publishRelease(
      home, store, staging,
      { product, version, artifacts, ...(hardware === undefined ? {} : { hardware }), ...(minimumSource === undefined ? {} : { minimumSource }) },
      { namespace, ...(onProgress === undefined ? {} : { onProgress }), ...(signal === undefined ? {} : { signal }), ...(apart ? {} : { holdMs: HOLD_MS }) },
    );
    const published = !apart && staged.complete;
    const first = published && options.deltasFirst !== undefined ? await DeltasFirst.open(home, store, options.deltasFirst) : undefined;
    if (published) {
      await acceptRelease(home, staging, store, undefined, first?.options);
      await hold.release();
    }
    return { manifest, addedBytes, staging, signatures: staged.signatures, complete: staged.complete, published, deltas: first?.outcomes ?? [] };
  } finally {
    await store.close();
  }
}

export interface AcceptFilesReport {
  /** False when the very same staging was accepted before. */
  readonly changed: boolean;
  readonly releases: readonly ReleaseManifest[];
  /** What became of the deltas, when they were to be made first. */
  readonly deltas: readonly DeltaOutcome[];
}

/** Checks a staging directory and makes what it brings visible to devices. On the server of `home`. */
export async function acceptStaging(home: string, staging: string, options: Pick<PublishFilesOptions, 'deltasFirst'> = {}): Promise<AcceptFilesReport> {
  const place = trustHome(home);
  await readConfig(place);
  // Without one the content is in the home's own store already, or the staging changes keys alone.
  const from = (await nodeFiles.stat(stagedStore(staging))) === undefined ? undefined : await PackStore.open(stagedStore(staging));
  try {
    const store = await PackStore.open(place.paths.store, { level: LEVEL });
    try {
      const first = options.deltasFirst === undefined ? undefined : await DeltasFirst.open(place, store, options.deltasFirst);
      const { changed, releases } = await acceptRelease(place, staging, store, from, first?.options);
      return { changed, releases, deltas: first?.outcomes ?? [] };
    } finally {
      await store.close();
    }
  } finally {
    await from?.close();
  }
}
