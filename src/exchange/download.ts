import type { Clock } from '../core/clock.ts';
import type { Bitmap } from '../core/bitmap.ts';
import { isShoalError } from '../core/errors.ts';
import { GATEWAY_PATIENCE_MS, SPAN_MAX_BYTES } from '../core/limits.ts';
import type { ArtifactRecord } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { Files } from '../store/files.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { nextSteps } from '../plan/schedule.ts';
import type { Offer, Random } from '../plan/schedule.ts';
import { LocalChunks } from './local-chunks.ts';
import type { BaseIndexes } from './base-index.ts';
import { MediumCheck } from './medium.ts';
import { InFlight, LATE_MS } from './in-flight.ts';
import { Receipts } from './ledger.ts';
import type { Ledger } from './ledger.ts';
import { fillFromLocal } from './local-fill.ts';
import { MissingSpans } from './missing.ts';
import { FailoverPages } from './pages.ts';
import type { PageShelf } from './pages.ts';
import { SpanFill } from './span-fill.ts';
import type { PeerHolding, Source, SourceKind, SpanSink } from './source.ts';
import { PATIENCE_MS, Standing } from './standing.ts';
import type { Evidence } from './standing.ts';

export interface DownloadOptions {
  readonly namespace: string;
  readonly artifact: ArtifactRecord;
  /** Who can be asked. A function is called again whenever there is something to ask for: neighbours come and go. */
  readonly sources: readonly Source[] | (() => readonly Source[]);
  readonly slot: FileSlot;
  /** Older files that may have some of the chunks. */
  readonly bases?: readonly string[];
  /** What the bases are read with. Default: the files of this machine. */
  readonly files?: Files;
  /** Where what the bases have is kept between runs. */
  readonly baseIndexes?: BaseIndexes;
  /** Where index pages are kept, for the next run and for neighbours. */
  readonly pages?: PageShelf;
  /** Whose turn it is to cross the backhaul. Default: always this device's. */
  readonly turns?: BackhaulTurns;
  /** Called at every sign that the download goes on. */
  readonly onAlive?: () => void;
  /** What is known of the sources from earlier. Default: nothing. */
  readonly standing?: Standing;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal?: AbortSignal;
  /** Called once, with the number of spans, before any of them is. */
  readonly onIndex?: (spans: number) => void;
  /** Called for every span that is whole in the slot: it may be served from there. */
  readonly onSpan?: (span: number) => void;
  /** Called after every span with verified bytes in place and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called once for every source that is caught with wrong bytes, unless `standing` has its own. */
  readonly onLie?: (evidence: Evidence) => void;
}

/** Who of a site asks the origin for what. The gateway needs none: it asks once whoever asks it. */
export interface BackhaulTurns {
  /** Told what a neighbour says that it has. */
  saw(source: Source, holding: PeerHolding): void;
  mine(span: number): boolean;
  /** Others bring what is not this device's turn. */
  readonly othersAtWork: boolean;
}

/** LAN first: a neighbour's bytes are free, the gateway's nearly, the origin's cross the metered link. */
const COST: Readonly<Record<SourceKind, number>> = { peer: 0, gateway: 0, origin: 1 };
/** For index pages: a gateway has them all, of neighbours nobody knows which ones. */
const PAGE_ORDER: Readonly<Record<SourceKind, number>> = { gateway: 0, peer: 1, origin: 2 };
/** One fewer than a client's connections to one host: index pages are not to wait behind spans on a slow link. A LAN is none. */
const IN_FLIGHT: Readonly<Record<SourceKind, number>> = { peer: 4, gateway: 3, origin: 3 };
/** Added to the cost of a source with a late request: more than any link costs. */
const SLOW_COST = 1_000;
/** How often what peers hold is asked again while something is missing, milliseconds. */
const HOLDING_MS = 1_000;
const TICK_MS = 250;
/**
 * Spans that are known to be missing at a time, while others are on their way: the chunks of each are some 10 kB, and all
 * of a large artifact's would be memory that grows with it. A GiB and more: neighbours find enough to swap.
 */
const MISSING_MOST = 512;

/**
 * Brings one artifact into a slot and verifies it there. Takes what the slot and the bases have, then asks the sources,
 * several at once; writes nothing that is not verified; leaves the slot ready for `activate`. After a failure the slot keeps
 * what arrived and another call goes on from it.
 *
 * @throws ShoalError `NO_SOURCE` when nobody gave a byte for a minute, `INDEX_SIZE`, `MEDIUM_MISMATCH`, or what the slot throws
 */
export async function download(options: DownloadOptions): Promise<Ledger> {
  return new Download(options).run();
}

class Download {
  readonly #options: DownloadOptions;
  readonly #key: ContentKey;
  readonly #standing: Standing;
  readonly #missing = new MissingSpans();
  readonly #receipts = new Receipts();
  readonly #inFlight: InFlight;
  /** Memory that spans are received in, used again and again. */
  readonly #buffers: Uint8Array[] = [];
  readonly #fetches = new Set<Promise<void>>();
  readonly #holdings = new Map<string, Bitmap | 'all'>();
  readonly #medium: MediumCheck;
  readonly #stop = new AbortController();
  readonly #started: number;
  /** Spans are still being looked at: more may turn out to be missing. */
  #looking = true;
  #holdingsAsked = -Infinity;
  #local = 0;
  #lacking = 0;
  #done = 0;
  #lastArrival: number;
  /** When others of the site were last known to be at work. */
  #waited = -Infinity;
  #broken: Error | undefined;
  #wake: () => void = () => undefined;
  /** Lets the look at further spans go on. */
  #lookOn: () => void = () => undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
    this.#key = { namespace: options.namespace, root: options.artifact.root };
    this.#started = options.clock.now();
    this.#lastArrival = this.#started;
    this.#inFlight = new InFlight(() => options.clock.now());
    this.#medium = new MediumCheck(options.slot, options.artifact.size);
    this.#standing = options.standing ?? new Standing(() => options.clock.now(), options.onLie);
  }

  async run(): Promise<Ledger> {
    const { artifact, clock, slot } = this.#options;
    const signal = this.#options.signal === undefined ? this.#stop.signal : AbortSignal.any([this.#options.signal, this.#stop.signal]);
    const nearest = (): readonly Source[] => this.#sources().toSorted((a, b) => PAGE_ORDER[a.kind] - PAGE_ORDER[b.kind]);
    const pages = new FailoverPages(this.#key, nearest, this.#standing, clock, signal, this.#options.pages);
    let looking: Promise<void> | undefined;
    try {
      const index = await IndexReader.open(artifact.root, artifact.size, pages);
      this.#options.onIndex?.(index.spans);
      looking = this.#takeLocal(index, signal).catch((error: unknown) => {
        this.#broken ??= asError(error);
      }).finally(() => {
        this.#looking = false;
        this.#wake();
      });
      await this.#fetchAll(index, signal);
      await this.#medium.finish(artifact.size, index.spans);
    } finally {
      // Hedged requests that lost the race, and everything else after a failure. Whoever closes the slot next finds it quiet.
      this.#stop.abort();
      await Promise.all([looking, ...this.#fetches]);
      await this.#medium.close();
    }
    return {
      local: this.#local,
      delta: 0,
      peer: this.#receipts.content('peer'),
      gateway: this.#receipts.content('gateway'),
      origin: this.#receipts.content('origin'),
      control: this.#receipts.control,
      written: slot.written,
      seconds: (clock.now() - this.#started) / 1000,
      bound: { lacking: this.#lacking, size: artifact.size },
    };
  }

  #sources(): readonly Source[] {
    const { sources } = this.#options;
    return this.#receipts.noting(typeof sources === 'function' ? sources() : sources);
  }

  /**
   * Fills spans from the slot itself and from the bases, and notes what is missing, which is fetched meanwhile. Begins
   * anywhere: devices that set out together do not all ask for the same spans first.
   */
  async #takeLocal(index: IndexReader, signal: AbortSignal): Promise<void> {
    const { artifact, bases = [], baseIndexes, slot } = this.#options;
    const local = await LocalChunks.scan(bases, artifact.chunking, { indexes: baseIndexes, signal, files: this.#options.files });
    const begin = Math.floor(this.#options.random() * index.spans);
    try {
      for await (const { span, chunks, lacking, there } of fillFromLocal(index, slot, local, begin, signal)) {
        this.#local += there;
        this.#progress(there);
        if (lacking.length === 0) {
          this.#whole(span, chunks);
          continue;
        }
        if (this.#missing.size === 0) this.#lastArrival = this.#options.clock.now();
        this.#lacking += span.bytes - there;
        this.#missing.add(new SpanFill(span, chunks, lacking));
        this.#wake();
        // When nothing is on its way, nobody has what is known so far: then the rest is looked at all the same.
        while (this.#missing.size >= MISSING_MOST && this.#fetches.size > 0 && !signal.aborted) await new Promise<void>((resolve) => (this.#lookOn = resolve));
      }
    } finally {
      await local.close();
    }
  }

  #progress(bytes: number): void {
    this.#options.onAlive?.();
    this.#done += bytes;
    this.#options.onProgress?.(this.#done, this.#options.artifact.size);
  }

  async #fetchAll(index: IndexReader, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    while (this.#looking || this.#missing.size > 0 || this.#broken !== undefined) {
      signal.throwIfAborted();
      const sources = this.#sources();
      if (this.#broken !== undefined) throw this.#broken;
      if (clock.now() - this.#holdingsAsked >= HOLDING_MS) {
        const asking = this.#askHoldings(sources, index.spans, signal);
        if (this.#holdings.size === 0) await asking;
      }
      const now = clock.now();
      const { room } = this.#inFlight;
      const steps = room === 0 ? [] : nextSteps(this.#missing.wants(now, LATE_MS), this.#offers(sources), random);
      for (const step of steps.slice(0, room)) {
        const source = sources.find(({ name }) => name === step.source);
        const missing = this.#missing.get(step.span);
        if (source === undefined || missing === undefined) continue;
        missing.asked = [...missing.asked, source.name];
        missing.since = now;
        const fetching = this.#fetch(source, missing, signal).finally(() => {
          this.#fetches.delete(fetching);
          this.#lookOn();
        });
        this.#fetches.add(fetching);
      }
      if (this.#options.turns?.othersAtWork === true) this.#waited = now;
      const idle = now - this.#waited > PATIENCE_MS && this.#inFlight.none;
      const hopeless = sources.every((source) => this.#standing.banned(source));
      if (this.#missing.size > 0 && ((idle && now - this.#lastArrival > PATIENCE_MS) || hopeless)) {
        throw this.#standing.nobody(`${String(this.#missing.size)} of ${String(index.spans)} spans`, sources);
      }
      await new Promise<void>((resolve) => {
        const cancel = clock.after(TICK_MS, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  #offers(sources: readonly Source[]): readonly Offer[] {
    const { turns } = this.#options;
    return sources
      .filter((source) => this.#standing.mayAsk(source))
      .map((source) => {
        const held = this.#holdings.get(source.name);
        return {
          source: source.name,
          // A stuck source is the last choice until it answers, however near it is.
          costPerByte: COST[source.kind] + (this.#inFlight.slow(source.name) ? SLOW_COST : 0),
          inFlight: this.#inFlight.of(source.name),
          mostInFlight: IN_FLIGHT[source.kind],
          holds: (span: number) => (held === 'all' ? source.kind !== 'origin' || (turns?.mine(span) ?? true) : (held?.has(span) ?? false)),
        };
      });
  }

  /** Asks the peers what they hold; a source that is being waited for does not keep the others from being used. */
  async #askHoldings(sources: readonly Source[], spans: number, signal: AbortSignal): Promise<void> {
    this.#holdingsAsked = this.#options.clock.now();
    const asked = sources.filter((source) => this.#standing.mayAsk(source)).map(async (source) => {
      try {
        const holding = await source.holding(this.#key, spans, signal);
        this.#holdings.set(source.name, holding?.spans ?? 'all');
        if (holding !== undefined) this.#options.turns?.saw(source, holding);
      } catch (error) {
        this.#failed(source, error);
      }
      this.#wake();
    });
    let cancel: () => void = () => undefined;
    await Promise.race([Promise.all(asked), new Promise<void>((resolve) => (cancel = this.#options.clock.after(TICK_MS, resolve)))]);
    cancel();
  }

  async #fetch(source: Source, missing: SpanFill, signal: AbortSignal): Promise<void> {
    const request = missing.request();
    const started = this.#inFlight.start(source.name);
    const buffer = this.#buffers.pop() ?? new Uint8Array(SPAN_MAX_BYTES);
    const alive = (): void => {
      const now = this.#options.clock.now();
      // Words alone do not count for ever.
      if (now - this.#lastArrival > GATEWAY_PATIENCE_MS) return;
      started.since = now;
      missing.since = now;
      this.#options.onAlive?.();
    };
    const take: SpanSink['take'] = async (batch, first) => {
      alive();
      if (first + batch.length === request.chunks.length) {
        // The next one is asked for while this one is still being written.
        started.arrived = true;
        this.#wake();
      }
      try {
        this.#arrived(missing, await missing.take(this.#options.slot, request, batch, first));
      } catch (error) {
        // The slot's own failure (a full disk) ends the download; it is nobody's fault out there.
        this.#broken ??= asError(error);
        throw error;
      }
    };
    try {
      await source.span(this.#key, request, { buffer, take, alive }, signal);
      this.#standing.succeeded(source);
    } catch (error) {
      if (isShoalError(error, 'NOT_HELD')) {
        const held = this.#holdings.get(source.name);
        if (held !== undefined && held !== 'all') held.delete(request.span);
        else this.#failed(source, error);
      } else {
        this.#failed(source, error);
      }
    } finally {
      this.#buffers.push(buffer);
      missing.asked = missing.asked.filter((name) => name !== source.name);
      this.#inFlight.end(source.name, started);
      this.#wake();
    }
  }

  /** Verified bytes of a span are in the slot. */
  #arrived(missing: SpanFill, bytes: number): void {
    this.#lastArrival = this.#options.clock.now();
    if (missing.whole && this.#missing.delete(missing)) this.#whole(missing.place, missing.chunks);
    this.#progress(bytes);
  }

  #whole(span: Span, chunks: readonly ChunkRef[]): void {
    this.#medium.add(span, chunks);
    this.#options.onSpan?.(span.index);
  }

  #failed(source: Source, error: unknown): void {
    if (this.#broken !== undefined || this.#stop.signal.aborted || this.#options.signal?.aborted === true) return;
    this.#standing.failed(source, error);
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
