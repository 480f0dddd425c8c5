import { systemClock } from '../core/clock.ts';
import { startDhtNode } from '../discover/dht.ts';
import type { DhtNode } from '../discover/dht.ts';
import { deltaPolicy } from '../publish/delta-policy.ts';
import { collectHome } from '../publish/upkeep.ts';
import { PackStore } from '../store/pack/store.ts';
import { RepositoryFiles } from '../trust/repository/files.ts';
import { readConfig, trustHome } from '../trust/repository/home.ts';
import { renewOnline } from '../trust/repository/online.ts';
import type { DhtWay } from './discover.ts';
import { startOrigin } from './origin.ts';
import type { Origin, OriginLedger, Signature } from './origin.ts';
import { DeltaRunner } from './origin/delta-runner.ts';
import type { NewRelease } from './origin/delta-runner.ts';
import { HomeRuns } from './origin/runs.ts';
import { HomeUploads } from './origin/upload-desk.ts';
import type { DeltaOutcome } from '../publish/deltas.ts';
import { startOpenListener } from './origin/open-listener.ts';
import type { OpenListener, OpenListenerOptions } from './origin/open-listener.ts';
import { startFleetDesk } from './origin/fleet-desk.ts';
import type { FleetDesk } from './origin/fleet-desk.ts';

export interface HomeOriginOptions {
  /** A whole home, or the server half of one. */
  readonly home: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** What health says about the program that runs it. */
  readonly version: string;
  /** Whoever has one of these may upload. Nobody without. */
  readonly uploadTokens?: readonly string[];
  /** Told what became of each delta of a release that was uploaded. */
  readonly onDelta?: (outcome: DeltaOutcome) => void;
  /**
   * Speaks TLS with the fleet's certificates, which enrolled devices have. Default: wherever it can be reached from outside,
   * unless `insecureHttp`. `names`: further names and addresses for clients that know no fleets.
   */
  readonly tls?: boolean;
  readonly names?: readonly string[];
  readonly insecureHttp?: boolean;
  /** Opens products to stock BitTorrent clients, on a listener of their own without TLS. */
  readonly torrent?: OpenListenerOptions;
  /** Takes part in the fleet's own hash table, as a node with a fixed place where others begin. */
  readonly dht?: DhtWay;
  /** Told what went wrong where nobody asked: signing, deltas, garbage collection, damaged content. */
  readonly onError?: (error: unknown, where: string) => void;
}

/** An origin, and where stock clients reach it when it is open to them. */
export interface HomeOrigin extends Origin {
  readonly torrents?: string;
  /** UDP port of its node of the hash table. */
  readonly dhtPort?: number;
  ledger(): OriginLedger & { readonly torrents?: OriginLedger['served'] };
}

/** Serves a home: its repository, its store, signatures renewed and garbage collected in time. Throws `NO_HOME`, `NOT_A_SERVER`. */
export async function startHomeOrigin(options: HomeOriginOptions): Promise<HomeOrigin> {
  const home = trustHome(options.home);
  const resign = async (): Promise<readonly Signature[]> => (await renewOnline(home)).offline;
  // First of all: whoever cannot sign makes no store.
  await resign();
  const store = await PackStore.open(home.paths.store);
  const tokens = options.uploadTokens ?? [];
  let deltas: DeltaRunner | undefined;
  let fleet: FleetDesk | undefined;
  let open: OpenListener | undefined;
  let node: DhtNode | undefined;
  let runs: HomeRuns | undefined;
  try {
    runs = new HomeRuns(home, systemClock, options.onError);
    const running = runs;
    node = options.dht === undefined ? undefined : await startDhtNode({ ...options.dht, clock: systemClock, today: () => home.now().getTime() });
    const dht = node;
    open = options.torrent === undefined ? undefined : await startOpenListener(home, store, options.version, options.torrent, options.onError);
    const torrents = open;
    fleet = await startFleetDesk(home, { ...options, uploads: tokens.length > 0 });
    const desk = fleet;
    const runner = (deltas = await DeltaRunner.open({ home, ...(options.onDelta === undefined ? {} : { onOutcome: options.onDelta }), ...(options.onError === undefined ? {} : { onError: options.onError }) }));
    // A slip there is told when deltas are to be made; it keeps nobody from serving.
    const beforeMs = 1_000 * (await readConfig(home).then(({ deltas: wish }) => deltaPolicy(wish).seconds).catch(() => 0));
    const noteReleases = (releases: readonly NewRelease[]): Promise<void> =>
      // The release is out, and the uploader is told so, whatever becomes of its deltas.
      runner.add(releases).catch((error: unknown) => options.onError?.(error, 'deltas'));
    const origin = await startOrigin({
      store,
      metadata: new RepositoryFiles(home),
      listen: options.listen,
      version: options.version,
      resign,
      collect: () => collectHome(home, store),
      runs: running,
      ...(tokens.length === 0 ? {} : { uploads: { desk: new HomeUploads(home, store, systemClock, { before: (staging) => runner.first(staging, beforeMs), beforeMs, after: noteReleases }), tokens } }),
      ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }),
      ...desk?.forOrigin,
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
    return {
      ...origin,
      ...(torrents === undefined ? {} : { torrents: torrents.url }),
      ...(dht === undefined ? {} : { dhtPort: dht.port }),
      ledger: () => ({ ...origin.ledger(), ...(torrents === undefined ? {} : { torrents: { ...torrents.served } }) }),
      close: async () => {
        await runner.close();
        await dht?.close();
        await torrents?.close();
        await origin.close();
        await desk?.close();
      },
    };
  } catch (error) {
    await deltas?.close();
    await fleet?.close();
    await open?.close();
    await node?.close();
    runs?.close();
    await store.close();
    throw error;
  }
}
