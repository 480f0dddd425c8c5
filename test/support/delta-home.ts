import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { DeltaApplier } from '../../src/delta/apply.ts';
import { decodeDeltaManifest } from '../../src/delta/manifest.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { acceptRelease, publishRelease } from '../../src/publish/release.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { listedDeltas, readDeltaManifest } from '../../src/trust/repository/deltas.ts';
import type { DeltaEntry } from '../../src/trust/repository/deltas.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { stageRelease } from '../../src/trust/repository/stage.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import { sampleBytes } from './artifact.ts';
import { Calendar, noContent, testHome } from './trust-homes.ts';

/** Versions of an image, each a little different from the one before: a few bytes changed, some inserted. 2 MB, two spans or three. */
export function imageVersion(version: number, length = 2_000_000): Buffer {
  let image = Buffer.from(sampleBytes(length, 77, false));
  for (let step = 1; step < version; step++) {
    for (let at = 0; at < 20; at++) image[(at * 91_711 + step * 7_919) % image.byteLength] = step;
    image = Buffer.concat([image.subarray(0, 300_000 * step), Buffer.from(sampleBytes(1_000, step, false)), image.subarray(300_000 * step)]);
  }
  return image;
}

/** A whole home with its store, releases published into it, and what their deltas make. */
export class DeltaHome {
  readonly folder: string;
  readonly home: TrustHome;
  readonly store: PackStore;
  #serial = 0;

  /** On a calendar of its own, or, for other processes to work with, by the time of day. */
  static async make(time: 'calendar' | 'now' = 'calendar'): Promise<DeltaHome> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-delta-home-'));
    const home = time === 'now' ? trustHome(join(folder, 'home')) : testHome(join(folder, 'home'), new Calendar());
    await initHome(home);
    return new DeltaHome(folder, home, await PackStore.open(home.paths.store, { level: 3, graceMs: 0 }));
  }

  /** `folder` holds the home and whatever else is made; it goes when this is closed. */
  constructor(folder: string, home: TrustHome, store: PackStore) {
    this.folder = folder;
    this.home = home;
    this.store = store;
  }

  async publish(product: string, version: string, files: Readonly<Record<string, Uint8Array>>): Promise<ReleaseManifest> {
    const artifacts = [];
    for (const [name, bytes] of Object.entries(files)) {
      const path = join(this.folder, String(this.#serial++));
      await writeFile(path, bytes);
      artifacts.push({ name, path });
    }
    const staging = join(this.folder, `staging-${String(this.#serial++)}`);
    const { manifest } = await publishRelease(this.home, this.store, staging, { product, version, artifacts }, { namespace: 'default' });
    await acceptRelease(this.home, staging, this.store, undefined);
    // A publisher's files may be gone the next time.
    for (const { path } of artifacts) await rm(path);
    return manifest;
  }

  async retire(product: string, ...versions: readonly string[]): Promise<void> {
    const staging = join(this.folder, `staging-${String(this.#serial++)}`);
    await stageRelease(this.home, staging, [], { retire: { [product]: versions } });
    await acceptStaged(this.home, staging, noContent);
  }

  listed(): Promise<readonly DeltaEntry[]> {
    return listedDeltas(this.home);
  }

  /** What a listed delta makes of `base`, from nothing but what the repository and the store serve. */
  async rebuild(entry: DeltaEntry, base: Uint8Array): Promise<Buffer> {
    const manifest = decodeDeltaManifest((await readDeltaManifest(this.home, entry)) ?? new Uint8Array());
    let fetched = entry.length;
    const object = async (id: ObjectId): Promise<Uint8Array> => {
      const bytes = await this.store.deltaOf(entry.target, id);
      if (bytes === undefined) throw new Error(`${id} is not in the store`);
      fetched += bytes.byteLength;
      return bytes;
    };
    const applier = new DeltaApplier(manifest, { object }, memoryBase(base));
    const parts = [];
    for (const number of applier.segments.keys()) parts.push(await applier.segment(number));
    if (fetched !== entry.bytes) throw new Error(`${String(fetched)} bytes were fetched, ${String(entry.bytes)} promised`);
    return Buffer.concat(parts);
  }

  async close(): Promise<void> {
    await this.store.close();
    await rm(this.folder, { recursive: true });
  }
}
