import type { Clock } from '../core/clock.ts';
import { SPAN_MAX_BYTES } from '../core/limits.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ArtifactRecord } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { ArrivingSpan } from '../serve/file-content.ts';
import type { Files } from '../store/files.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { Random } from '../plan/schedule.ts';
import { ahead } from './ahead.ts';
import type { BaseIndexes } from './base-index.ts';
import type { DeltaCache } from './delta-cache.ts';
import type { DeltaSupply } from './delta-choice.ts';
import { DeltaUse } from './delta-use.ts';
import { Fetching } from './fetching.ts';
import { Receipts } from './ledger.ts';
import type { Ledger } from './ledger.ts';
import { LocalChunks } from './local-chunks.ts';
import { Looker } from './looker.ts';
import type { Looked } from './looker.ts';
import { MediumCheck } from './medium.ts';
import { MissingSpans } from './missing.ts';
import { FailoverPages } from './pages.ts';
import type { PageShelf } from './pages.ts';
import type { Source, SourceKind } from './source.ts';
import { SpanFill } from './span-fill.ts';
import { Standing } from './standing.ts';
import type { Evidence } from './standing.ts';
import type { BackhaulTurns } from './turns.ts';

export type { BackhaulTurns } from './turns.ts';

export interface DownloadOptions {
  readonly namespace: string;
  readonly artifact: ArtifactRecord;
  /** Who can be asked. A function is called again whenever there is something to ask for: neighbours come and go. */
  readonly sources: readonly Source[] | (() => readonly Source[]);
  readonly slot: FileSlot;
  /**
   * Whether what was synced is read back from the medium itself, past what the system remembers of it, where that can be had (Linux,
   * native kernel). Default: no; it takes as long as the medium takes to read the artifact once more.
   */
  readonly fromMedium?: boolean;
  /** Older files that may have some of the chunks, or be what a delta starts from. */
  readonly bases?: readonly string[];
  /** What the bases are read with. Default: the files of this machine. */
  readonly files?: Files;
  /** Where what the bases have is kept between runs. */
  readonly baseIndexes?: BaseIndexes;
  /** Where index pages are kept, for the next run and for neighbours. */
  readonly pages?: PageShelf;
  /** Deltas that may be used. Default: none. */
  readonly deltas?: DeltaSupply;
  /** Where map pages and payloads are kept for neighbours. */
  readonly deltaCache?: DeltaCache;
  /** Told from which base it is rebuilt, or `none`, when that is known and when it changes. */
  readonly onBase?: (base: ObjectId | 'none') => void;
  /** Whose turn it is to cross the backhaul. Default: always this device's. */
  readonly turns?: BackhaulTurns;
  /** Given once what tells of the bytes received so far, by source. */
  readonly onStart?: (ledger: () => Ledger) => void;
  /** Called when a span begins, and when it ceases, to be brought over the backhaul: neighbours that are told need not do it as well. */
  readonly onBringing?: (span: number, on: boolean) => void;
  /** Called when a span begins to come over the backhaul as content, with what tells which chunks of it are in the slot, and with undefined when it ceases: neighbours can have it as it comes. */
  readonly onArriving?: (span: number, arriving: ArrivingSpan | undefined) => void;
  /** Called at every sign that the download goes on. */
  readonly onAlive?: () => void;
  /** The most that the sources may send together at the moment, by a limit of this device, bytes a second. Default: no limit. */
  readonly rate?: () => number;
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

/** For index pages: a gateway has them all, of neighbours nobody knows which ones. */
const PAGE_ORDER: Readonly<Record<SourceKind, number>> = { gateway: 0, peer: 1, origin: 2, torrent: 3 };
/** Leaf pages asked for at a time: enough to hide a link's delay, few enough to be nothing in memory (36 KiB each). */
const LEAVES_AHEAD = 8;
/**
 * Spans that are known to be missing at a time, while others are on their way: the chunks of each are some 10 kB, and all
 * of a large artifact's would be memory that grows with it. A GiB and more: neighbours find enough to swap.
 */
const MISSING_MOST = 512;

/**
 * Brings one artifact into a slot and verifies it there. Takes what the slot and the bases have, then asks the sources,
 * several at once, for the smallest form of the rest; writes nothing that is not verified; leaves the slot ready for
 * `activate`. After a failure the slot keeps what arrived and another call goes on from it.
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
  readonly #receipts = new Receipts();
  readonly #medium: MediumCheck;
  readonly #stop = new AbortController();
  readonly #started: number;
  /** Spans are still being looked at: more may turn out to be missing. */
  #looking = true;
  #local = 0;
  #lacking = 0;
  #done = 0;
  /** Lets the look at further spans go on. */
  #lookOn: () => void = () => undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
    this.#key = { namespace: options.namespace, root: options.artifact.root };
    this.#started = options.clock.now();
    this.#medium = new MediumCheck(options.slot, options.artifact.size, options.fromMedium);
    this.#standing = options.standing ?? new Standing(() => options.clock.now(), options.onLie);
  }

  async run(): Promise<Ledger> {
    const { artifact, clock, pages: shelf, random, slot, turns } = this.#options;
    const signal = this.#options.signal === undefined ? this.#stop.signal : AbortSignal.any([this.#options.signal, this.#stop.signal]);
    const nearest = (): readonly Source[] => this.#sources().filter(({ kind }) => kind !== 'torrent').toSorted((a, b) => PAGE_ORDER[a.kind] - PAGE_ORDER[b.kind]);
    const pages = new FailoverPages(this.#key, nearest, this.#standing, clock, signal, shelf, () => turns?.mayAskForPages !== false, (coming) => turns?.mayAskForPagesBeside(coming) !== false);
    const local = new LocalChunks();
    const looker = new Looker(slot, local, artifact.chunking, shelf);
    let [looking, fetching, delta]: [Promise<void> | undefined, Fetching | undefined, DeltaUse | undefined] = [undefined, undefined, undefined];
    try {
      const index = await IndexReader.open(artifact.root, artifact.size, pages);
      turns?.spans(index.spans);
      this.#options.onIndex?.(index.spans);
      const missing = new MissingSpans(index.spans);
      const use = new DeltaUse({
        key: this.#key, index,
        supply: this.#options.deltas,
        cache: this.#options.deltaCache,
        onChoice: (choice, offers) => {
          turns?.decided(choice, offers);
          this.#options.onBase?.(choice?.offer.base ?? 'none');
        },
        onChange: () => fetching?.wake(),
      });
      delta = use;
      this.#options.onStart?.(() => this.#ledger(use));
      const work = new Fetching({
        key: this.#key, chunking: artifact.chunking, index, slot, pages, shelf, looker, missing, signal, clock, random, turns,
        rate: this.#options.rate,
        delta: use,
        sources: () => this.#sources(),
        standing: this.#standing,
        looking: () => this.#looking,
        onArrived: (fill, written, there) => {
          this.#arrived(missing, fill, written, there);
        },
        onAlive: () => this.#options.onAlive?.(),
        onBringing: (span, on) => this.#options.onBringing?.(span, on),
        onArriving: (span, arriving) => this.#options.onArriving?.(span, arriving),
        onEnded: () => {
          this.#lookOn();
        },
      });
      fetching = work;
      looking = this.#takeLocal(index, local, looker, missing, use, work, signal).catch((error: unknown) => {
        work.broke(error);
      }).finally(() => {
        this.#looking = false;
        work.wake();
      });
      await work.run();
      await this.#medium.finish(artifact.size, index.spans);
    } finally {
      // Hedged requests that lost the race, and everything else after a failure. Whoever closes the slot next finds it quiet.
      this.#stop.abort();
      this.#lookOn();
      await Promise.all([looking, fetching?.close()]);
      await Promise.all([this.#medium.close(), local.close()]);
    }
    return this.#ledger(delta);
  }

  #ledger({ least, received }: DeltaUse): Ledger {
    const { artifact, clock, slot } = this.#options;
    const manifest = (kind: SourceKind): number => (received?.from === kind ? received.bytes : 0);
    const deltaFrom = { peer: this.#receipts.delta('peer') + manifest('peer'), gateway: this.#receipts.delta('gateway') + manifest('gateway'), origin: this.#receipts.delta('origin') + manifest('origin') };
    return {
      local: this.#local,
      delta: deltaFrom.peer + deltaFrom.gateway + deltaFrom.origin,
      deltaFrom,
      peer: this.#receipts.content('peer'),
      gateway: this.#receipts.content('gateway'),
      origin: this.#receipts.content('origin'),
      torrent: this.#receipts.content('torrent'),
      // The manifest of a delta comes over the control plane, and is counted above.
      control: this.#receipts.control - (received?.bytes ?? 0),
      written: slot.written,
      seconds: (clock.now() - this.#started) / 1000,
      bound: { lacking: this.#lacking, least: Math.min(this.#lacking, least), size: artifact.size },
    };
  }

  #sources(): readonly Source[] {
    const { sources } = this.#options;
    return this.#receipts.noting(typeof sources === 'function' ? sources() : sources);
  }

  /**
   * Fills spans from the slot itself and from the bases, and notes what is missing, which is fetched meanwhile. Begins
   * anywhere: devices that set out together do not all ask for the same spans first. With a delta they begin at the front,
   * so that they work through the same few map pages.
   */
  async #takeLocal(index: IndexReader, local: LocalChunks, looker: Looker, missing: MissingSpans, delta: DeltaUse, fetching: Fetching, signal: AbortSignal): Promise<void> {
    const { artifact, bases = [], baseIndexes, files, random, slot, turns } = this.#options;
    await local.scan(bases, artifact.chunking, { indexes: baseIndexes, signal, files });
    await delta.choose(local.bases);
    const begin = delta.hopes(0) ? 0 : Math.floor(random() * index.spans);
    const found = slot.found > 0 || !local.empty;
    const room = found ? Math.min(SPAN_MAX_BYTES, artifact.size) : 0;
    const buffers = [new Uint8Array(room), new Uint8Array(room)] as const;
    // Which chunks a span has is asked only where nothing better is in sight. Neighbours show it with the span: before they have it, all of a site would ask each other for every page in vain.
    const known = async ({ span, looked }: { readonly span: Span; readonly looked: Looked | undefined }): Promise<{ readonly span: Span; readonly looked: Looked | undefined; readonly chunks: readonly ChunkRef[] | undefined }> => {
      if (looked !== undefined || delta.hopes(span.index)) return { span, looked, chunks: undefined };
      await turns?.settled();
      const alone = turns === undefined || turns.members === 0;
      return { span, looked, chunks: alone ? (await index.leaf(span)).chunks : undefined };
    };
    for await (const { span, looked, chunks } of ahead(withoutPages(index, looker, begin, buffers[0], signal), LEAVES_AHEAD, known)) {
      signal.throwIfAborted();
      const result = chunks === undefined ? looked : await looker.look(span, chunks, buffers[1]);
      const there = result?.there ?? 0;
      this.#local += there;
      this.#progress(there);
      if (result?.lacking.length === 0) {
        missing.found(span.index);
        this.#whole(span, result.chunks);
        continue;
      }
      if (missing.size === 0) fetching.begins();
      this.#lacking += span.bytes - there;
      missing.add(new SpanFill(span, result));
      fetching.wake();
      // When nothing is on its way, nobody has what is known so far: then the rest is looked at all the same.
      while (missing.size >= MISSING_MOST && !fetching.idle && !signal.aborted) await new Promise<void>((resolve) => (this.#lookOn = resolve));
    }
  }

  #progress(bytes: number): void {
    this.#options.onAlive?.();
    this.#done += bytes;
    this.#options.onProgress?.(this.#done, this.#options.artifact.size);
  }

  /** Verified bytes of a span are in the slot. */
  #arrived(missing: MissingSpans, fill: SpanFill, written: number, there: number): void {
    this.#local += there;
    this.#lacking -= there;
    if (fill.whole && missing.came(fill)) this.#whole(fill.place, fill.chunks ?? []);
    this.#progress(written + there);
  }

  #whole(span: Span, chunks: readonly ChunkRef[]): void {
    this.#medium.add(span, chunks);
    this.#options.turns?.has(span.index);
    this.#options.onSpan?.(span.index);
  }
}

/** All spans, from span `begin` on and then those before it, with what can be found of them without a page. One after another: they share `buffer`. */
async function* withoutPages(index: IndexReader, looker: Looker, begin: number, buffer: Uint8Array, signal: AbortSignal): AsyncGenerator<{ readonly span: Span; readonly looked: Looked | undefined }> {
  for (let at = 0; at < index.spans; at++) {
    signal.throwIfAborted();
    const span = await index.span((begin + at) % index.spans);
    yield { span, looked: await looker.lookWithoutPage(index, span, buffer) };
  }
}
