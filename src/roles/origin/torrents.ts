import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { TORRENT_MAX_FILE_BYTES } from '../../core/limits.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import type { ContentKey } from '../../core/wire.ts';
import { infoHashOf, makeTorrentInfo, torrentFile } from '../../publish/torrent.ts';
import type { MakeTorrentOptions } from '../../publish/torrent.ts';
import { ArtifactBytes } from '../../serve/artifact-bytes.ts';
import { isOpen } from '../../serve/open-products.ts';
import type { OpenProducts } from '../../serve/open-products.ts';
import { StoreContent } from '../../serve/store-content.ts';
import type { OfferedTorrent, TorrentProvider } from '../../serve/torrent-routes.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import { Serial } from '../../store/serial.ts';
import type { PrunableStore } from '../../store/types.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import { InFlight } from '../gateway/absent.ts';
import { LiveReleases } from './live.ts';

const DIRECTORY = 'torrents';
const ENDING = '.info';
/** SHA-256 of what follows it. */
const DIGEST_BYTES = 32;

/**
 * The live releases of a home as torrents. Their pieces are read from the store and hashed when one is first wanted, one
 * release at a time; the info dictionary is kept beside the home, named by what it was made of, for as long as the release lives.
 */
export class HomeTorrents implements TorrentProvider {
  readonly #home: TrustHome;
  readonly #artifacts: ArtifactBytes;
  readonly #open: OpenProducts;
  readonly #live: LiveReleases<readonly ReleaseManifest[]>;
  readonly #hashing = new Serial();
  readonly #wanted = new InFlight<Uint8Array>();
  /** Names among clients of what is kept, by file name. */
  readonly #hashes = new Map<string, string>();

  /** `open`: the products that are on offer. */
  constructor(home: TrustHome, store: PrunableStore, open: OpenProducts, clock: Clock) {
    this.#home = home;
    this.#artifacts = new ArtifactBytes(new StoreContent(store, () => clock.now()));
    this.#open = open;
    this.#live = new LiveReleases(home, clock, (releases) => releases.toSorted((a, b) => b.sequence - a.sequence));
  }

  async list(): Promise<readonly ReleaseManifest[]> {
    return (await this.#live.now()).filter(({ product }) => isOpen(this.#open, product));
  }

  async torrent(product: string, version: string, options: MakeTorrentOptions = {}): Promise<OfferedTorrent | undefined> {
    const release = await this.#release(product, version);
    if (release === undefined) return undefined;
    const info = await this.#wanted.run(fileNameOf(release), () => this.#info(release, options));
    const [first, ...more] = release.artifacts;
    return {
      infoHash: infoHashOf(info),
      name: nameOf(release),
      single: first === undefined || more.length > 0 ? undefined : { namespace: release.namespace, root: first.root },
      file: (places) => torrentFile(info, places),
    };
  }

  async artifact(product: string, version: string, name: string): Promise<ContentKey | undefined> {
    const release = await this.#release(product, version);
    const found = release?.artifacts.find((each) => each.name === name);
    return release === undefined || found === undefined ? undefined : { namespace: release.namespace, root: found.root };
  }

  async knows(infoHash: string): Promise<boolean> {
    for (const release of await this.list()) {
      const file = fileNameOf(release);
      if (!this.#hashes.has(file)) await this.#kept(file);
      if (this.#hashes.get(file) === infoHash) return true;
    }
    return false;
  }

  async #release(product: string, version: string): Promise<ReleaseManifest | undefined> {
    return (await this.list()).find((each) => each.product === product && each.version === version);
  }

  async #info(release: ReleaseManifest, options: MakeTorrentOptions): Promise<Uint8Array> {
    const file = fileNameOf(release);
    const kept = await this.#kept(file);
    if (kept !== undefined) return kept;
    return this.#hashing.run(async () => {
      const parts = release.artifacts.map(({ name, root, size }) => ({ name, size, open: () => this.#artifacts.read({ namespace: release.namespace, root }, 0, size) }));
      const info = await makeTorrentInfo(nameOf(release), parts, options);
      const directory = join(this.#home.directory, DIRECTORY);
      await makeDirectories(this.#home.files, directory);
      await writeDurably(this.#home.files, join(directory, file), Buffer.concat([sha256(info), info]));
      this.#hashes.set(file, infoHashOf(info));
      await this.#forget(directory);
      return info;
    });
  }

  async #kept(file: string): Promise<Uint8Array | undefined> {
    // What cannot be read is made again.
    const kept = await readWhole(this.#home.files, join(this.#home.directory, DIRECTORY, file), TORRENT_MAX_FILE_BYTES).catch(() => undefined);
    const info = kept?.subarray(DIGEST_BYTES);
    if (kept === undefined || info === undefined || !sha256(info).equals(kept.subarray(0, DIGEST_BYTES))) return undefined;
    this.#hashes.set(file, infoHashOf(info));
    return info;
  }

  /** What was kept of releases that are gone. */
  async #forget(directory: string): Promise<void> {
    const live = new Set((await this.#live.now()).map(fileNameOf));
    for (const name of await this.#home.files.list(directory)) {
      if (!name.endsWith(ENDING) || live.has(name)) continue;
      await this.#home.files.remove(join(directory, name));
      this.#hashes.delete(name);
    }
  }
}

/** The file of a release with one artifact, else the folder of its files. */
function nameOf({ product, version, artifacts }: ReleaseManifest): string {
  const [first, ...more] = artifacts;
  return first !== undefined && more.length === 0 ? first.name : `${product}-${version}`;
}

/** Fixed by all that the info dictionary is made of. */
function fileNameOf(release: ReleaseManifest): string {
  return sha256(Buffer.from(JSON.stringify(['torrent 1', nameOf(release), release.artifacts.map(({ name, root, size }) => [name, root, size])]))).toString('hex') + ENDING;
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
