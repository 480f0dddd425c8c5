import type { Clock } from '../core/clock.ts';
import type { Bitmap } from '../core/bitmap.ts';
import { isShoalError } from '../core/errors.ts';
import { GATEWAY_PATIENCE_MS, SPAN_MAX_BYTES } from '../core/limits.ts';
import type { ArtifactRecord } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { Files } from '../store/files.ts';
import { IndexReader, chunkOffsets } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { chunkIdOf } from '../merkle/verify.ts';
import { nextSteps } from '../plan/schedule.ts';
import type { Offer, Random, Want } from '../plan/schedule.ts';
import { LocalChunks } from './local-chunks.ts';
import { ahead } from './ahead.ts';
import type { BaseIndexes } from './base-index.ts';
import { MediumCheck } from './medium.ts';
import { FailoverPages } from './pages.ts';
import type { PageShelf } from './pages.ts';
import { SpanFill } from './span-fill.ts';
import type { Source, SourceKind, SpanSink } from './source.ts';
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
  /** Told what a neighbour says: how many spans it has, and whether it is at work. */
  saw(source: Source, held: number, working: boolean): void;
  mine(span: number): boolean;
  /** Others bring what is not this device's turn. */
  readonly othersAtWork: boolean;
}

/** Where the bytes of one artifact came from. `delta` has its place waiting. */
export interface Ledger {
  /** Raw bytes that were there already: left by an earlier run, or found in a base. */
  readonly local: number;
  readonly delta: number;
  /** Bytes received for content, bodies and heads, by kind of source; index pages are content. */
  readonly peer: number;
  readonly gateway: number;
  readonly origin: number;
  /** Bytes received for anything else. */
  readonly control: number;
  /** Bytes written to the slot. */
  readonly written: number;
  readonly seconds: number;
}

interface Running {
  /** When it was started, or last gave a sign of life. */
  since: number;
  /** All bytes are here, if not all of them in the slot: the source has nothing more to do. */
  arrived: boolean;
}

/** LAN first: a neighbour's bytes are free, the gateway's nearly, the origin's cross the metered link. */
const COST: Readonly<Record<SourceKind, number>> = { peer: 0, gateway: 0, origin: 1 };
/** For index pages: a gateway has them all, of neighbours nobody knows which ones. */
const PAGE_ORDER: Readonly<Record<SourceKind, number>> = { gateway: 0, peer: 1, origin: 2 };
/** One fewer than a client's connections to one host: index pages are not to wait behind spans on a slow link. A LAN is none. */
const IN_FLIGHT: Readonly<Record<SourceKind, number>> = { peer: 4, gateway: 3, origin: 3 };
/** Spans of one source that may still be being written while others of it arrive. */
const UNWRITTEN = 2;
/**
 * Spans under way at the same time, from all sources together: each has `SPAN_MAX_BYTES` of memory. Late ones do not count,
 * so that many stuck sources do not keep the others from being asked, up to a bound of their own.
 */
const SPANS_MOST = 16;
const SPANS_WITH_LATE_MOST = 48;
/** A span is late after so long without a sign of life: another source is asked for it as well. Milliseconds. */
const LATE_MS = 5_000;
/** Added to the cost of a source with a late request: more than any link costs. */
const SLOW_COST = 1_000;
/** How often what peers hold is asked again while something is missing, milliseconds. */
const HOLDING_MS = 1_000;
const TICK_MS = 250;
/** Leaf pages asked for at a time: enough to hide a link's delay, few enough to be nothing in memory (36 KiB each). */
const LEAVES_AHEAD = 8;

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
  readonly #missing = new Map<number, SpanFill>();
  /** Every source that was ever offered, with what it had received by then. */
  readonly #before = new Map<Source, ReturnType<Source['totals']>>();
  /** The requests under way, by source. */
  readonly #running = new Map<string, Set<Running>>();
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
  #done = 0;
  #lastArrival: number;
  /** When others of the site were last known to be at work. */
  #waited = -Infinity;
  #broken: Error | undefined;
  #wake: () => void = () => undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
    this.#key = { namespace: options.namespace, root: options.artifact.root };
    this.#started = options.clock.now();
    this.#lastArrival = this.#started;
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
    const all = [...this.#before];
    const received = (kind: SourceKind): number => all.reduce((sum, [source, { content }]) => sum + (source.kind === kind ? source.totals().content - content : 0), 0);
    return {
      local: this.#local,
      delta: 0,
      peer: received('peer'),
      gateway: received('gateway'),
      origin: received('origin'),
      control: all.reduce((sum, [source, { control }]) => sum + source.totals().control - control, 0),
      written: slot.written,
      seconds: (clock.now() - this.#started) / 1000,
    };
  }

  #sources(): readonly Source[] {
    const { sources } = this.#options;
    const now = typeof sources === 'function' ? sources() : sources;
    for (const source of now) if (!this.#before.has(source)) this.#before.set(source, source.totals());
    return now;
  }

  /**
   * Fills spans from the slot itself and from the bases, and notes what is missing, which is fetched meanwhile. Begins
   * anywhere: devices that set out together do not all ask for the same spans first.
   */
  async #takeLocal(index: IndexReader, signal: AbortSignal): Promise<void> {
    const { artifact, bases = [], baseIndexes, slot } = this.#options;
    const local = await LocalChunks.scan(bases, artifact.chunking, { indexes: baseIndexes, signal, files: this.#options.files });
    const begin = Math.floor(this.#options.random() * index.spans);
    const buffer = new Uint8Array(slot.found > 0 ? SPAN_MAX_BYTES : 0);
    try {
      for await (const [span, { chunks }] of ahead(around(index, begin), LEAVES_AHEAD, async (each) => [each, await index.leaf(each)] as const)) {
        const offsets = chunkOffsets(chunks).map((offset) => span.offset + offset);
        const positions: number[] = [];
        signal.throwIfAborted();
        const found = span.offset < slot.found ? await slot.readInto(buffer.subarray(0, span.bytes), span.offset) : new Uint8Array();
        for (const [position, chunk] of chunks.entries()) {
          const offset = offsets[position] ?? 0;
          const there = found.subarray(offset - span.offset, offset - span.offset + chunk.length);
          if (there.byteLength === chunk.length && chunkIdOf(there) === chunk.id) {
            this.#count(chunk.length);
            continue;
          }
          const copy = await local.chunk(chunk);
          if (copy === undefined) {
            positions.push(position);
            continue;
          }
          await slot.write(offset, copy);
          this.#count(chunk.length);
        }
        if (positions.length === 0) {
          this.#whole(span, chunks);
          continue;
        }
        if (this.#missing.size === 0) this.#lastArrival = this.#options.clock.now();
        this.#missing.set(span.index, new SpanFill(span, chunks, positions));
        this.#wake();
      }
    } finally {
      await local.close();
    }
  }

  #count(bytes: number): void {
    this.#local += bytes;
    this.#progress(bytes);
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
      const room = this.#room(now);
      const steps = room === 0 ? [] : nextSteps(this.#wants(now), this.#offers(sources), random);
      for (const step of steps.slice(0, room)) {
        const source = sources.find(({ name }) => name === step.source);
        const missing = this.#missing.get(step.span);
        if (source === undefined || missing === undefined) continue;
        missing.asked = [...missing.asked, source.name];
        missing.since = now;
        const fetching = this.#fetch(source, missing, signal).finally(() => this.#fetches.delete(fetching));
        this.#fetches.add(fetching);
      }
      if (this.#options.turns?.othersAtWork === true) this.#waited = now;
      const idle = now - this.#waited > PATIENCE_MS && [...this.#running.values()].every(({ size }) => size === 0);
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

  *#wants(now: number): Generator<Want> {
    for (const { wanted, span, asked, since } of this.#missing.values()) {
      if (wanted) yield { span: span.index, asked, late: asked.length > 0 && now - since > LATE_MS };
    }
  }

  /** How many more spans may be asked for. */
  #room(now: number): number {
    const inTime = [...this.#running.values()].reduce((sum, running) => sum + [...running].filter(({ since, arrived }) => arrived || now - since <= LATE_MS).length, 0);
    return Math.max(0, Math.min(SPANS_MOST - inTime, SPANS_WITH_LATE_MOST - this.#fetches.size));
  }

  #offers(sources: readonly Source[]): readonly Offer[] {
    const { turns } = this.#options;
    return sources
      .filter((source) => this.#standing.mayAsk(source))
      .map((source) => {
        const held = this.#holdings.get(source.name);
        const all = this.#running.get(source.name) ?? new Set();
        const running = [...all].filter(({ arrived }) => !arrived);
        const slow = running.some(({ since }) => this.#options.clock.now() - since > LATE_MS);
        return {
          source: source.name,
          // A stuck source is the last choice until it answers, however near it is.
          costPerByte: COST[source.kind] + (slow ? SLOW_COST : 0),
          inFlight: Math.max(running.length, all.size - UNWRITTEN),
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
        if (holding !== undefined) this.#options.turns?.saw(source, holding.spans.size, holding.working);
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
    const started: Running = { since: this.#options.clock.now(), arrived: false };
    const running = this.#running.get(source.name) ?? new Set();
    this.#running.set(source.name, running.add(started));
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
      running.delete(started);
      this.#wake();
    }
  }

  /** Verified bytes of a span are in the slot. */
  #arrived(missing: SpanFill, bytes: number): void {
    this.#lastArrival = this.#options.clock.now();
    if (missing.whole && this.#missing.delete(missing.span.index)) this.#whole(missing.span, missing.chunks);
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

/** All spans, from `begin` on and then those before it. */
async function* around(index: IndexReader, begin: number): AsyncGenerator<Span> {
  for (let at = 0; at < index.spans; at++) yield await index.span((begin + at) % index.spans);
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
