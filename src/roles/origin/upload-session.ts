import { formatChunkSet, parseChunkSet } from '../../core/chunkset.ts';
import type { Clock } from '../../core/clock.ts';
import { ShoalError, isShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { UPLOAD_IDLE_MS, UPLOAD_MAX_ASKED, UPLOAD_MAX_WALKED } from '../../core/limits.ts';
import type { UploadArtifact, UploadGap } from '../../core/wire.ts';
import { verifiedGroups } from '../../exchange/span-body.ts';
import type { ChunkRef } from '../../merkle/page.ts';
import { IndexReader } from '../../merkle/reader.ts';
import { verifyPage } from '../../merkle/verify.ts';
import type { StoreBatch, StoreWriter } from '../../store/types.ts';
import { Serial } from '../../store/serial.ts';

/** A page that the walk came to and the store does not have. */
class Absent extends Error {
  readonly id: ObjectId;

  constructor(id: ObjectId) {
    super('absent');
    this.id = id;
  }
}

/**
 * The content of one upload on its way into the store. Only what the signed roots reach is taken: a page when the walk has
 * asked for it, a span where its leaf page says. What has arrived stays in the store, unseen, until the commit; when nobody
 * goes on for a while the batch is closed, and what is there is found again by the next question.
 */
export class UploadSession {
  readonly artifacts: ReadonlyMap<ObjectId, UploadArtifact>;
  readonly #store: StoreWriter;
  readonly #clock: Clock;
  readonly #turns = new Serial();
  readonly #expected = new Set<ObjectId>();
  #batch: StoreBatch | undefined;
  #running = 0;
  #cancelIdle: (() => void) | undefined;

  constructor(store: StoreWriter, clock: Clock, artifacts: readonly UploadArtifact[]) {
    this.#store = store;
    this.#clock = clock;
    this.artifacts = new Map(artifacts.map((artifact) => [artifact.root, artifact]));
  }

  /** What the store lacks of an artifact, from span `from` on: pages first, then chunks. */
  async missing(root: ObjectId, from: number): Promise<UploadGap> {
    const artifact = this.#artifact(root);
    return this.#using(async () => {
      const pages: ObjectId[] = [];
      const spans: { span: number; chunks: string }[] = [];
      let again: number | undefined;
      const index = await this.#open(artifact).catch((error: unknown) => this.#noteAbsent(error, pages));
      if (index === undefined) return this.#gap(pages, spans, 0);
      let at = from;
      for (const last = Math.min(index.spans, from + UPLOAD_MAX_WALKED); at < last && pages.length + spans.length < UPLOAD_MAX_ASKED; at++) {
        try {
          const span = await index.span(at);
          const { chunks } = await index.leaf(span);
          const lacking = await this.#lacking(chunks);
          if (lacking.length > 0) spans.push({ span: at, chunks: formatChunkSet(lacking) });
        } catch (error) {
          const before = pages.length;
          this.#noteAbsent(error, pages);
          again ??= at;
          // The same inner page again: what lies below it is not known yet.
          if (pages.length === before) break;
        }
      }
      return this.#gap(pages, spans, again ?? (at < index.spans ? at : undefined));
    });
  }

  async putPage(root: ObjectId, id: ObjectId, encoded: Uint8Array): Promise<void> {
    this.#artifact(root);
    // A repeated one, whose answer was lost on the way.
    if (!this.#expected.has(id) && (await this.#store.object('page', id)) !== undefined) return;
    if (!this.#expected.has(id)) throw new ShoalError('UPLOAD_UNWANTED', `index page ${id.slice(0, 12)}… was not asked for`, { ids: { page: id }, retry: 'again' });
    const page = verifyPage(id, encoded);
    await this.#using(async (batch) => batch.putPage(page));
    this.#expected.delete(id);
  }

  /** `set` is the chunk set the body holds, `coding` its content coding. */
  async putSpan(root: ObjectId, number: number, set: string, body: Uint8Array, coding: string | undefined): Promise<void> {
    const artifact = this.#artifact(root);
    await this.#using(async (batch) => {
      const index = await this.#open(artifact).catch(unknownPage);
      const span = await index.span(number).catch(unknownPage);
      const leaf = await index.leaf(span).catch(unknownPage);
      const chunks = parseChunkSet(set, leaf.chunks.length).flatMap((position) => leaf.chunks[position] ?? []);
      const where = `span ${String(number)} of ${artifact.name} in ${artifact.release}`;
      let groups;
      try {
        groups = await verifiedGroups(body, coding, chunks);
      } catch (error) {
        if (!(error instanceof ShoalError)) throw error;
        throw new ShoalError('UPLOAD_DAMAGED', `${where} is not what was signed: ${error.message}`, {
          cause: error, ids: { ...error.ids, root, span: number }, hint: 'Look at the staging directory with "shoal verify", or stage the release again.',
        });
      }
      for (const { chunks: group, frame } of groups) await batch.putSpan(group, frame);
    });
  }

  /** Ends the batch: after the commit of what it put, or to give the store's lock back. */
  async close(): Promise<void> {
    this.#cancelIdle?.();
    await this.#turns.run(async () => {
      const batch = this.#batch;
      this.#batch = undefined;
      await batch?.abort();
    });
  }

  /** Keeps what the batch has put from gc while `work` runs. */
  holding<T>(work: () => Promise<T>): Promise<T> {
    return this.#using(work);
  }

  #artifact(root: ObjectId): UploadArtifact {
    const artifact = this.artifacts.get(root);
    if (artifact === undefined) throw new ShoalError('UPLOAD_UNWANTED', `the artifact ${root.slice(0, 12)}… is of no release in this upload`, { ids: { root } });
    return artifact;
  }

  async #using<T>(work: (batch: StoreBatch) => Promise<T>): Promise<T> {
    this.#cancelIdle?.();
    this.#running++;
    try {
      const batch = await this.#turns.run(async () => (this.#batch ??= await this.#store.begin()));
      return await work(batch);
    } finally {
      if (--this.#running === 0) this.#cancelIdle = this.#clock.after(UPLOAD_IDLE_MS, () => void this.close());
    }
  }

  #open({ root, size }: UploadArtifact): Promise<IndexReader> {
    return IndexReader.open(root, size, {
      page: async (id) => {
        const encoded = await this.#store.object('page', id).catch((error: unknown) => {
          // It is sent again, and written again.
          if (isShoalError(error, 'STORE_DAMAGED')) return undefined;
          throw error;
        });
        if (encoded === undefined) throw new Absent(id);
        return encoded;
      },
    });
  }

  async #lacking(chunks: readonly ChunkRef[]): Promise<number[]> {
    const here = await this.#store.has(chunks.map(({ id }) => id));
    const asked = new Set<ObjectId>();
    return chunks.flatMap(({ id }, position) => {
      if (here[position] === true || asked.has(id)) return [];
      asked.add(id);
      return [position];
    });
  }

  #noteAbsent(error: unknown, pages: ObjectId[]): undefined {
    if (!(error instanceof Absent)) throw error;
    if (!pages.includes(error.id)) pages.push(error.id);
    return undefined;
  }

  #gap(pages: readonly ObjectId[], spans: UploadGap['spans'], next: number | undefined): UploadGap {
    this.#expected.clear();
    for (const id of pages) this.#expected.add(id);
    return { pages, spans, ...(next === undefined ? {} : { next }) };
  }
}

function unknownPage(error: unknown): never {
  if (error instanceof Absent || isShoalError(error, 'NO_SUCH_SPAN')) {
    throw new ShoalError('UPLOAD_UNWANTED', 'the pages above this span are not here yet, or there is no such span', { cause: error, retry: 'again' });
  }
  throw error as Error;
}
