import { systemClock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import { releaseCalled } from '../publish/delta-plan.ts';
import type { MakeTorrentOptions } from '../publish/torrent.ts';
import { liveReleases, needServer } from '../publish/upkeep.ts';
import { wire } from '../core/wire.ts';
import { PackStore } from '../store/pack/store.ts';
import { trustHome } from '../trust/repository/home.ts';
import { HomeTorrents } from './origin/torrents.ts';

export interface ReleaseTorrentOptions extends MakeTorrentOptions {
  /** Home of a server, or a whole one. */
  readonly home: string;
  readonly product: string;
  /** Default: the newest release. */
  readonly version?: string;
  /** Where an origin, or what stands before it, answers stock clients (`shoal origin --torrent`): web seed and tracker. */
  readonly origins?: readonly string[];
  /** Further trackers. */
  readonly trackers?: readonly string[];
}

export interface ReleaseTorrent {
  readonly version: string;
  readonly name: string;
  readonly infoHash: string;
  /** Bytes of the .torrent file. */
  readonly bytes: Uint8Array;
}

/**
 * A live release as a .torrent file. Its pieces are hashed once and kept beside the home, where an origin finds them.
 *
 * @throws ShoalError `NO_HOME`, `NOT_A_SERVER`, `NO_SUCH_RELEASE`, `NO_TORRENT`, `BAD_USAGE`
 */
export async function releaseTorrent({ product, version, origins = [], trackers = [], ...options }: ReleaseTorrentOptions): Promise<ReleaseTorrent> {
  const home = trustHome(options.home);
  await needServer(home);
  const bases = [...origins, ...trackers].map(checkUrl).slice(0, origins.length);
  const release = releaseCalled(await liveReleases(home), product, version);
  const store = await PackStore.open(home.paths.store);
  try {
    const torrent = await new HomeTorrents(home, store, 'all', systemClock).torrent(release.product, release.version, options);
    if (torrent === undefined) throw new ShoalError('NO_SUCH_RELEASE', `${product} ${release.version} was retired meanwhile`, { ids: { product } });
    const { single } = torrent;
    const bytes = await torrent.file({
      webSeeds: bases.map((base) => base + (single === undefined ? wire.torrentFiles(product, release.version) : wire.artifact(single))),
      trackers: [...bases.map((base) => base + wire.tracker), ...trackers],
      comment: `${product} ${release.version}`,
    });
    return { version: release.version, name: torrent.name, infoHash: torrent.infoHash, bytes };
  } finally {
    await store.close();
  }
}

function checkUrl(url: string): string {
  if (!/^(https?|udp):$/.test(URL.parse(url)?.protocol ?? '')) throw new ShoalError('BAD_USAGE', `${url.slice(0, 200)} is not a URL of an origin or tracker`);
  return url.replace(/\/$/, '');
}
