import { createHash } from 'node:crypto';
import { parseChunkSet, formatChunkSet } from '../core/chunkset.ts';
import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { CONNECTIONS_PER_ORIGIN, SPAN_MAX_BYTES } from '../core/limits.ts';
import type { UploadArtifact, UploadGap } from '../core/wire.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { StoreReader } from '../store/types.ts';
import type { TlsFor } from './http-pool.ts';
import { UploadChannel } from './upload-channel.ts';
import type { UploadTotals } from './upload-channel.ts';

export interface UploadOptions {
  /** The origin. */
  readonly url: string;
  readonly token: string;
  /** Every file of the staging directory, by path (`metadata/…`, `targets/…`). */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The content; undefined when the staging directory brings none. */
  readonly content?: StoreReader;
  /** TLS with the origin. Default: as on the web. */
  readonly tls?: TlsFor;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** Has the releases shown to devices at once; their deltas follow. */
  readonly deltasLater?: boolean;
  /** Told now and then that everything has arrived and deltas are being made. */
  readonly onDeltas?: () => void;
  /** Artifact bytes that the server has, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface UploadReport {
  /** False when all of it was published before. */
  readonly changed: boolean;
  readonly releases: readonly { readonly product: string; readonly version: string; readonly sequence: number }[];
  /** Deltas that were there when the releases became visible. */
  readonly deltas: number;
  readonly ledger: UploadTotals & { readonly artifactBytes: number; readonly spansSent: number };
}

/** A request should take about so long: far inside what a server waits for one, and long enough not to be all overhead. */
const PIECE_MS = 4_000;
const FIRST_PIECE_BYTES = 1024 * 1024;
/** How often the whole is gone through again when the server lost something meanwhile (restart, garbage collection). */
const ROUNDS = 4;

/**
 * Brings a staging directory to an origin. Asks what is missing and sends that, so whoever was interrupted goes on; the
 * server makes it visible as a whole. Throws what the server refuses with (`STAGING_…`, `UPLOAD_…`, `UNAUTHORIZED`), and
 * `HTTP_…` (again) when it cannot be reached for two minutes.
 */
export async function uploadStaging(options: UploadOptions): Promise<UploadReport> {
  const channel = new UploadChannel(options.url, options.token, options.clock ?? systemClock, options.signal, options.tls);
  try {
    for (let round = 1; ; round++) {
      try {
        return await new Upload(options, channel).run();
      } catch (error) {
        const lost = isShoalError(error, 'UPLOAD_UNKNOWN') || isShoalError(error, 'UPLOAD_UNWANTED') || isShoalError(error, 'INCOMPLETE_ARTIFACT');
        if (!lost || round === ROUNDS) throw error;
      }
    }
  } finally {
    channel.close();
  }
}

class Upload {
  readonly #options: UploadOptions;
  readonly #channel: UploadChannel;
  #piece = FIRST_PIECE_BYTES;
  #spansSent = 0;
  #done = 0;
  #total = 0;

  constructor(options: UploadOptions, channel: UploadChannel) {
    this.#options = options;
    this.#channel = channel;
  }

  async run(): Promise<UploadReport> {
    const { files } = this.#options;
    const listing = [...files].map(([path, bytes]) => ({ path, length: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }));
    const { id, missing } = (await this.#channel.json('POST', '', { files: listing })) as { readonly id: string; readonly missing: readonly string[] };
    if (!/^[0-9a-f]{64}$/.test(id)) throw new ShoalError('HTTP_BODY', `${this.#options.url} does not speak this protocol`, { retry: 'elsewhere' });
    await eachOf(missing, async (path) => {
      const bytes = files.get(path);
      if (bytes !== undefined) await this.#channel.put(`/${id}/files/${path}`, bytes);
    });
    const { artifacts } = (await this.#channel.json('POST', `/${id}/check`)) as { readonly artifacts: readonly UploadArtifact[] };
    this.#total = artifacts.reduce((sum, { size }) => sum + size, 0);
    for (const artifact of artifacts) await this.#artifact(`/${id}/content/${artifact.root}`, artifact);
    let result: Partial<Omit<UploadReport, 'ledger'>>;
    do {
      // Each answer comes within seconds: the server makes deltas meanwhile, for as long as it has decided to.
      result = (await this.#channel.json('POST', `/${id}/commit${this.#options.deltasLater === true ? '?deltas=later' : ''}`)) as typeof result;
      if (result.releases === undefined) this.#options.onDeltas?.();
    } while (result.releases === undefined);
    const { changed = false, releases, deltas = 0 } = result;
    return { changed, releases, deltas, ledger: { ...this.#channel.totals, artifactBytes: this.#total, spansSent: this.#spansSent } };
  }

  async #artifact(path: string, { root, size, name, release }: UploadArtifact): Promise<void> {
    const { content } = this.#options;
    const page = async (id: ObjectId): Promise<Uint8Array> => {
      const encoded = await content?.object('page', id);
      if (encoded === undefined) throw new ShoalError('STAGING_INCOMPLETE', `the staging directory lacks index page ${id.slice(0, 12)}… of ${name} in ${release}`, { ids: { page: id, root } });
      return encoded;
    };
    const index = await IndexReader.open(root, size, { page });
    const before = this.#done;
    for (let from: number | undefined = 0; from !== undefined; ) {
      const gap = (await this.#channel.json('POST', `${path}/missing`, { from })) as UploadGap;
      await eachOf(gap.pages, async (id) => {
        await this.#channel.put(`${path}/pages/${id}`, await page(id));
      });
      await eachOf(gap.spans, async ({ span: number, chunks: set }) => {
        const span = await index.span(number);
        const { chunks } = await index.leaf(span);
        await this.#span(`${path}/spans/${String(number)}`, chunks, parseChunkSet(set, chunks.length));
        this.#spansSent++;
        this.#progress(before + Math.min(size, span.offset));
      });
      from = gap.next;
      if (from !== undefined && from < index.spans) this.#progress(before + (await index.span(from)).offset);
    }
    this.#progress(before + size);
  }

  /** Sends the chunks at `positions` in pieces that suit the link. */
  async #span(path: string, chunks: readonly ChunkRef[], positions: readonly number[]): Promise<void> {
    const left = [...positions];
    while (left.length > 0) {
      const piece: number[] = [];
      for (let bytes = 0; left.length > 0; ) {
        const length = chunks[left[0] ?? 0]?.length ?? 0;
        if (piece.length > 0 && bytes + length > this.#piece) break;
        bytes += length;
        piece.push(left.shift() ?? 0);
      }
      const { body, coding } = await this.#bodyOf(piece.flatMap((position) => chunks[position] ?? []));
      try {
        const took = await this.#channel.put(`${path}/${formatChunkSet(piece)}`, body, coding === 'zstd' ? { 'Content-Encoding': 'zstd' } : {}, piece.length === 1);
        this.#piece = Math.min(SPAN_MAX_BYTES, Math.max(64 * 1024, (body.byteLength * PIECE_MS) / Math.max(1, took)));
      } catch (error) {
        if (piece.length === 1 || !UploadChannel.slow(error)) throw error;
        // Too much for this link at once.
        this.#channel.totals.repeated++;
        this.#piece = Math.max(64 * 1024, this.#piece / 4);
        left.unshift(...piece);
      }
    }
  }

  async #bodyOf(chunks: readonly ChunkRef[]): Promise<{ readonly body: Uint8Array; readonly coding: string }> {
    const runs = await this.#options.content?.runs(chunks.map(({ id }) => id), ['zstd', 'identity']);
    if (runs === undefined) throw new ShoalError('STAGING_INCOMPLETE', `the staging directory lacks chunk ${chunks[0]?.id.slice(0, 12) ?? ''}… or one after it`, { ids: { chunk: chunks[0]?.id ?? '' } });
    const pieces: Uint8Array[] = [];
    for (const run of runs) for await (const bytes of run.open()) pieces.push(bytes.slice());
    return { body: Buffer.concat(pieces), coding: runs[0]?.coding ?? 'identity' };
  }

  #progress(done: number): void {
    if (done <= this.#done) return;
    this.#done = done;
    this.#options.onProgress?.(done, this.#total);
  }
}

/** As many at a time as one client has connections. The first failure ends it, once what was begun has ended. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failed: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (failed === undefined && next < items.length) {
      try {
        await work(items[next++] as T);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONNECTIONS_PER_ORIGIN, items.length) }, worker));
  if (failed !== undefined) throw failed.error;
}

