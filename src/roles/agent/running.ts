import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import { ANNOUNCE_TTL_MS, GATEWAY_POLL_MS } from '../../core/limits.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { BaseIndexes } from '../../exchange/base-index.ts';
import type { DeltaCache } from '../../exchange/delta-cache.ts';
import { sumOfLedgers } from '../../exchange/ledger.ts';
import type { Ledger } from '../../exchange/ledger.ts';
import type { Source } from '../../exchange/source.ts';
import type { HttpUpstream } from '../../exchange/upstream.ts';
import type { Discovery } from '../../discover/types.ts';
import type { FileContent } from '../../serve/file-content.ts';
import type { Use } from '../../serve/access.ts';
import type { Surface } from '../../serve/surface.ts';
import type { Files } from '../../store/files.ts';
import { PageFile } from '../../store/page-file.ts';
import type { TufClient } from '../../trust/client/client.ts';
import { DeviceDeltas } from '../device/deltas.ts';
import { installRelease } from '../device/install.ts';
import type { Liars } from '../device/liars.ts';
import { namedSources, standingOf } from '../device/named.ts';
import type { Neighbours } from '../device/neighbours.ts';
import { ServedFile, localIndex } from '../device/served-file.ts';
import type { DeviceState } from './state.ts';
import type { HeldMetadata } from './metadata.ts';
import type { News } from './news.ts';
import type { AgentTorrents } from './torrents.ts';
import type { InstalledRelease } from './state.ts';
import type { Membership } from '../membership.ts';
import { measureAgent } from './measure.ts';
import { Periodic } from '../periodic.ts';
import type { Traffic } from '../traffic.ts';
import type { Agent, AgentEvent, AgentOptions, FollowedProduct } from './types.ts';

/** Within how long the neighbours of the first that has news set out, milliseconds for each of them, and in all. */
const HERD_EACH_MS = 100;
const HERD_MOST_MS = 3_000;

/** What a running agent is made of; it closes all of it. */
export interface AgentParts {
  readonly clock: Clock;
  readonly files: Files;
  readonly state: DeviceState;
  readonly trust: TufClient;
  readonly hosts: readonly HttpUpstream[];
  readonly neighbours: Neighbours;
  readonly discovery: Discovery | undefined;
  readonly content: FileContent;
  readonly deltaCache: DeltaCache;
  readonly metadata: HeldMetadata;
  readonly news: News;
  readonly surface: Surface;
  readonly member: Membership | undefined;
  readonly liars: Liars;
  readonly traffic: Traffic;
  readonly torrents: AgentTorrents | undefined;
}

/** Keeps products up to date, one after another, and tells the neighbours. */
export class RunningAgent {
  readonly #options: AgentOptions;
  readonly #parts: AgentParts;
  readonly #fixed: readonly Source[];
  readonly #served = new Map<string, readonly ServedFile[]>();
  /** Of what has ended, and of what is under way. */
  #ended: Ledger = sumOfLedgers([]);
  readonly #running = new Set<() => Ledger>();
  readonly #stop = new AbortController();
  /** Roots of what is being installed: told to the neighbours before the first byte is here. */
  #coming: readonly ObjectId[] = [];
  #following: ReleaseManifest | undefined;
  #turn: Promise<void> = Promise.resolve();
  #busy = 0;

  constructor(options: AgentOptions, parts: AgentParts) {
    this.#options = options;
    this.#parts = parts;
    this.#fixed = namedSources(options, parts.clock, parts.member, parts.traffic);
    parts.traffic.sharedBy(() => parts.neighbours.bringers);
  }

  /** Offers what earlier runs installed. */
  async serveInstalled(): Promise<void> {
    const { content, files, state } = this.#parts;
    for (const release of state.all) {
      if (!this.#options.products.some(({ product }) => product === release.manifest.product) || !(await state.unchanged(release))) continue;
      const served: ServedFile[] = [];
      for (const [at, artifact] of release.manifest.artifacts.entries()) {
        const pages = await PageFile.open(files, state.pagesPath(artifact.root), artifact.root);
        const index = await localIndex(artifact, pages);
        if (index === undefined) {
          await pages.close();
          continue;
        }
        const file = new ServedFile({ namespace: release.manifest.namespace, root: artifact.root }, artifact.size, index.spans, await files.open(release.files[at]?.path ?? '', 'read'), pages, this.#parts.clock, release.manifest);
        file.addAll();
        content.add(file);
        served.push(file);
      }
      this.#served.set(release.manifest.product, served);
      if (served.length === release.manifest.artifacts.length) this.#parts.torrents?.follow(release.manifest);
    }
  }

  /** Whether `root` is being installed. */
  coming(root: ObjectId): boolean {
    return this.#coming.includes(root);
  }

  /** What an artifact that is here, or on its way here, is used for. */
  uses(root: ObjectId): readonly Use[] {
    const manifests = [...this.#parts.state.all.map(({ manifest }) => manifest), ...(this.#following === undefined ? [] : [this.#following])];
    return manifests.filter(({ artifacts }) => artifacts.some((artifact) => artifact.root === root)).map(({ namespace, product }) => ({ namespace, product }));
  }

  start(url: string): Agent {
    const { clock, discovery, hosts, neighbours, state, surface, torrents } = this.#parts;
    const { pollMs = GATEWAY_POLL_MS, random = Math.random } = this.#options;
    measureAgent(surface.metrics.registry, { ...this.#parts, received: () => this.received() });
    const failed = (where: string) => (error: unknown) => {
      this.#failed(error, where);
    };
    const polls = new Periodic(clock, () => pollMs * (0.9 + 0.2 * random()), () => this.#inTurn(() => this.#parts.news.due(() => this.#look())), failed('update'));
    const announcements = new Periodic(clock, () => ANNOUNCE_TTL_MS * (0.4 + 0.1 * random()), () => this.#announce(), failed('neighbours'));
    void this.#inTurn(() => this.#parts.news.due(() => this.#look())).catch(failed('update'));
    return {
      url,
      ...(torrents === undefined ? {} : { torrentPort: torrents.port }),
      ledger: () => ({ received: this.received(), served: { ...surface.metrics.totals }, ...(torrents === undefined ? {} : { torrents: torrents.totals }) }),
      poll: () => this.#inTurn(() => this.#look()),
      close: async () => {
        this.#stop.abort();
        await Promise.all([polls.stop(), announcements.stop(), this.#turn.catch(() => undefined)]);
        await Promise.all([discovery?.close(), torrents?.close()]);
        // Neighbours need not find out by asking; if nobody takes it, they do.
        await neighbours.announce([], AbortSignal.timeout(1_000)).catch(() => undefined);
        await surface.close();
        await Promise.all([neighbours.close(), ...hosts.map((host) => host.close()), ...this.#fixed.map((source) => source.close())]);
        for (const served of this.#served.values()) for (const file of served) await file.close();
        await this.#parts.member?.close();
        state.close();
      },
    };
  }

  /** Bytes received since the start, by source; of what failed as well: they have been paid for. */
  received(): Ledger {
    const { hosts } = this.#parts;
    const sum = sumOfLedgers([this.#ended, ...[...this.#running].map((ledger) => ledger())]);
    return { ...sum, control: sum.control + hosts.reduce((total, { totals }) => total + totals.control, 0) };
  }

  /** A neighbour at `address` asked for what is not known here: there may be news. Says whether this device looks for it now. */
  wanted(address: string): boolean {
    if (this.#stop.signal.aborted) return false;
    if (this.#busy > 0) return true;
    if (this.#parts.news.deaf) return this.#parts.news.unsure;
    this.#inTurn(async () => {
      await this.#moment();
      // Who was not there a moment ago may be the one that asks.
      await this.#parts.neighbours.lookAround();
      await this.#parts.news.heard(address, () => this.#look());
    }).catch((error: unknown) => {
      this.#failed(error, 'update');
    });
    return true;
  }

  /**
   * All of a site hear of a release at the same moment, from the first that has it: where all of them set out then, each is slow, he as well, who could have begun
   * to bring it. So everybody takes a moment of his own, the longer the more there are.
   */
  #moment(): Promise<void> {
    const { clock, neighbours } = this.#parts;
    const { random = Math.random } = this.#options;
    return new Promise((resolve) => void clock.after(random() * Math.min(HERD_EACH_MS * neighbours.members.length, HERD_MOST_MS), resolve));
  }

  /** One after another: what is asked for while something runs follows it. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#busy++;
    const turn = this.#turn.catch(() => undefined).then(work).finally(() => {
      this.#busy--;
    });
    this.#turn = turn;
    return turn;
  }

  async #look(): Promise<void> {
    let first: unknown;
    await this.#parts.neighbours.lookAround();
    for (const followed of this.#options.products) {
      if (this.#stop.signal.aborted) return;
      try {
        await this.#follow(followed);
      } catch (error) {
        // The other products must not wait for this one.
        if (this.#options.products.length > 1) this.#failed(error, followed.product);
        else first = error;
      }
    }
    if (first !== undefined) throw first as Error;
  }

  async #follow({ product, output, bases = [] }: FollowedProduct): Promise<void> {
    const { clock, content, deltaCache, files, liars, neighbours, state, torrents, traffic, trust } = this.#parts;
    const { manifest, manifestBytes } = await trust.release(product);
    await this.#parts.metadata.keep(manifestBytes);
    const known = state.installed(product);
    if (known !== undefined && same(known.manifest, manifest) && (await state.unchanged(known))) return;
    this.#tell({ event: 'updating', product, version: manifest.version, sequence: manifest.sequence });
    this.#coming = manifest.artifacts.map(({ root }) => root);
    this.#following = manifest;
    traffic.begins();
    torrents?.follow(manifest);
    const news = neighbours.watch(this.#stop.signal);
    try {
      // Without neighbours it goes on all the same.
      await this.#announce().catch((error: unknown) => { this.#failed(error, 'neighbours'); });
      await neighbours.refresh(this.#stop.signal).catch(() => undefined);
      const { paths, ledger, served } = await installRelease({
        files, clock, manifest, output, content, bases, deltaCache,
        rate: traffic.rate,
        ...(this.#options.fromMedium === undefined ? {} : { fromMedium: this.#options.fromMedium }),
        deltas: await this.#deltas(),
        standing: standingOf(this.#options, liars, clock, (evidence) => { this.#tell({ event: 'lie', evidence }); }, (error) => { this.#failed(error, 'state'); }),
        baseIndexes: new BaseIndexes(files, join(state.directory, 'bases')),
        sources: (root) => [...neighbours.sources(root), ...neighbours.gateways.map(({ source }) => source), ...(torrents?.sources(root) ?? []), ...this.#fixed],
        turns: (root) => neighbours.turns(root),
        pagesPath: state.pagesPath,
        onStart: (ledger) => this.#running.add(ledger),
        signal: this.#stop.signal,
        onProgress: (done, total) => this.#options.onProgress?.(product, done, total),
      });
      await torrents?.keep(manifest);
      const replaced = this.#served.get(product) ?? [];
      this.#served.set(product, served);
      for (const file of replaced) {
        content.remove(file);
        await file.close();
      }
      await state.note(manifest, paths);
      await trust.accepted(manifest);
      this.#running.clear();
      this.#ended = sumOfLedgers([this.#ended, ledger]);
      this.#tell({ event: 'installed', manifest, paths, ledger });
    } finally {
      this.#ended = sumOfLedgers([this.#ended, ...[...this.#running].map((ledger) => ledger())]);
      this.#running.clear();
      await news.stop();
      this.#coming = [];
      this.#following = undefined;
    }
  }

  #deltas(): Promise<DeviceDeltas> {
    const { files, hosts, state, trust } = this.#parts;
    const { gateway } = this.#options;
    return DeviceDeltas.open({
      files, trust,
      directory: state.directory,
      hosts: () => hosts.map(({ totals, url }) => ({ kind: url === new URL(this.#options.origin).origin ? 'origin' : gateway !== undefined && url === new URL(gateway).origin ? 'gateway' : 'peer', totals })),
      recorded: (path) => state.rootAt(path),
      onManifest: (bytes) => this.#parts.metadata.keep(bytes),
      onDrop: (base, target, reason) => {
        this.#tell({ event: 'delta-dropped', base, target, reason });
      },
    });
  }

  async #announce(): Promise<void> {
    const held = await this.#parts.content.holdings();
    const roots = new Set([...this.#coming, ...held.map(({ key }) => key.root)]);
    await this.#parts.neighbours.announce([...roots], this.#stop.signal);
  }

  #tell(event: AgentEvent): void {
    this.#options.onEvent?.(event);
  }

  #failed(error: unknown, where: string): void {
    if (!this.#stop.signal.aborted) this.#options.onError?.(error, where);
  }
}

function same(one: InstalledRelease['manifest'], other: ReleaseManifest): boolean {
  return one.sequence === other.sequence && one.artifacts.length === other.artifacts.length && one.artifacts.every(({ root }, at) => root === other.artifacts[at]?.root);
}
