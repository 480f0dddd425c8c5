import { createHash } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ArtifactRecord, ReleaseManifest } from '../../core/manifest.ts';
import type { BaseIndexes } from '../../exchange/base-index.ts';
import { download } from '../../exchange/download.ts';
import type { BackhaulTurns } from '../../exchange/download.ts';
import type { DeltaCache } from '../../exchange/delta-cache.ts';
import type { DeltaSupply } from '../../exchange/delta-choice.ts';
import { sumOfLedgers } from '../../exchange/ledger.ts';
import type { Ledger } from '../../exchange/ledger.ts';
import { FailoverPages } from '../../exchange/pages.ts';
import type { Source } from '../../exchange/source.ts';
import type { Standing } from '../../exchange/standing.ts';
import { FileSlot } from '../../install/file-slot.ts';
import { checkMedium } from '../../install/medium.ts';
import { ReleaseDirectory } from '../../install/release-directory.ts';
import { IndexReader } from '../../merkle/reader.ts';
import type { FileContent } from '../../serve/file-content.ts';
import type { Files } from '../../store/files.ts';
import { PageFile } from '../../store/page-file.ts';
import { ServedFile, eachChunk, localIndex } from './served-file.ts';

export interface InstallOptions {
  readonly files: Files;
  readonly clock: Clock;
  readonly manifest: ReleaseManifest;
  /** A file for a release of one artifact; for one of several a link to a directory, replaced as a whole. */
  readonly output: string;
  readonly sources: (root: ObjectId) => readonly Source[];
  /** Whose turn it is to cross the backhaul. Default: always this device's. */
  readonly turns?: (root: ObjectId) => BackhaulTurns;
  readonly standing: Standing;
  /** Deltas that may be used, and where their parts are kept for neighbours. */
  readonly deltas?: DeltaSupply;
  readonly deltaCache?: DeltaCache;
  readonly bases: readonly string[];
  readonly baseIndexes: BaseIndexes;
  /** Where the index pages of an artifact are kept. Default: beside its file, and no longer than until it is in place. */
  readonly pagesPath?: (root: ObjectId) => string;
  /** Proves what was written by reading the medium itself, as in `DownloadOptions`; throws `MEDIUM_UNREADABLE` where that cannot be had. Default: no. */
  readonly fromMedium?: boolean;
  /** Serves the artifacts from the moment the first span is here. */
  readonly content?: FileContent;
  /** The most that may arrive at the moment, bytes a second. */
  readonly rate?: () => number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
  /** Given, for every artifact, what tells of the bytes received so far. */
  readonly onStart?: (ledger: () => Ledger) => void;
}

export interface Installed {
  readonly paths: readonly string[];
  readonly ledger: Ledger;
  /** What is served of it; the caller's to take out of the content and to close. Empty without `content`. */
  readonly served: readonly ServedFile[];
}

const READ_BYTES = 1024 * 1024;

/** Brings the artifacts of a release to their places: all of them verified on the medium before any can be seen there. */
export async function installRelease(options: InstallOptions): Promise<Installed> {
  const { files, manifest } = options;
  const output = resolve(options.output);
  const key = `${String(manifest.sequence)}-${manifest.artifacts[0]?.root.slice(0, 16) ?? ''}`;
  const directory = manifest.artifacts.length > 1 ? await ReleaseDirectory.open(files, output, key) : undefined;
  const total = manifest.artifacts.reduce((sum, { size }) => sum + size, 0);
  const parts: Part[] = [];
  const ledgers: Ledger[] = [];
  let before = 0;
  try {
    for (const artifact of manifest.artifacts) {
      // The same bytes under two names: one more copy of what has just come.
      const twin = parts[manifest.artifacts.findIndex(({ root }) => root === artifact.root)];
      const part = await Part.open(options, artifact, directory === undefined ? output : join(output, artifact.name), directory);
      parts.push(part);
      const done = before;
      ledgers.push(await part.bring((bytes) => options.onProgress?.(done + bytes, total), twin?.file));
      before += artifact.size;
    }
    for (const part of parts) await part.activate();
    await directory?.show();
  } catch (error) {
    for (const part of parts) await part.giveUp();
    throw error;
  }
  for (const part of parts) await part.settle();
  return { paths: parts.map(({ path }) => path), ledger: sumOfLedgers(ledgers), served: parts.flatMap(({ served }) => served ?? []) };
}

/** One artifact on its way. */
class Part {
  /** Where it is to be seen. */
  readonly path: string;
  readonly #options: InstallOptions;
  readonly #artifact: ArtifactRecord;
  /** Undefined when the file is in its place already. */
  readonly #slot: FileSlot | undefined;
  readonly #pages: PageFile;
  readonly #pagesPath: string;
  #served: ServedFile | undefined;
  #active = false;

  private constructor(options: InstallOptions, artifact: ArtifactRecord, path: string, slot: FileSlot | undefined, pages: PageFile, pagesPath: string) {
    this.path = path;
    this.#options = options;
    this.#artifact = artifact;
    this.#slot = slot;
    this.#pages = pages;
    this.#pagesPath = pagesPath;
  }

  static async open(options: InstallOptions, artifact: ArtifactRecord, path: string, directory: ReleaseDirectory | undefined): Promise<Part> {
    const { files } = options;
    const there = (await isThere(files, path, artifact, options.signal)) && ((await directory?.adopt(artifact.name)) ?? true);
    const place = directory === undefined ? path : join(directory.place, artifact.name);
    const slot = there ? undefined : await FileSlot.open(files, place);
    try {
      if (options.fromMedium === true && slot !== undefined) await checkMedium(slot);
      const pagesPath = options.pagesPath?.(artifact.root) ?? join(dirname(place), `.${basename(place)}.shoal-pages`);
      return new Part(options, artifact, path, slot, await PageFile.open(files, pagesPath, artifact.root), pagesPath);
    } catch (error) {
      await slot?.close();
      throw error;
    }
  }

  get served(): ServedFile | undefined {
    return this.#served;
  }

  /** Where its bytes are until they are to be seen. */
  get file(): string {
    return this.#slot?.partial ?? this.path;
  }

  /** `twin`: a file with the same bytes. */
  async bring(onProgress: (done: number) => void, twin?: string): Promise<Ledger> {
    const { clock, deltaCache, deltas, files, manifest, bases, baseIndexes, content, signal, standing } = this.#options;
    const artifact = this.#artifact;
    const turns = this.#options.turns?.(artifact.root);
    const slot = this.#slot;
    if (slot === undefined) {
      const started = clock.now();
      if (content !== undefined) await this.#serveWhole();
      onProgress(artifact.size);
      return { ...sumOfLedgers([]), local: artifact.size, seconds: (clock.now() - started) / 1000, bound: { lacking: 0, least: 0, size: artifact.size } };
    }
    // What is in the place now is the likeliest to have most of it.
    const replaced = (await files.stat(this.path))?.kind === 'file' && !bases.includes(this.path) ? [this.path] : [];
    const file = content === undefined ? undefined : await files.open(slot.partial, 'read');
    try {
      return await download({
        namespace: manifest.namespace, artifact, slot, files, clock, standing, baseIndexes,
        pages: this.#pages,
        sources: () => this.#options.sources(artifact.root),
        random: Math.random,
        bases: [...bases, ...replaced, ...(twin === undefined ? [] : [twin])],
        onProgress,
        onIndex: (spans) => {
          if (file !== undefined) this.#serve(new ServedFile({ namespace: manifest.namespace, root: artifact.root }, artifact.size, spans, file, this.#pages, clock, manifest));
        },
        onAlive: () => this.#served?.work(),
        onBringing: (span, on) => {
          if (on) this.#served?.bringing.add(span);
          else this.#served?.bringing.delete(span);
        },
        onArriving: (span, arriving) => {
          if (arriving === undefined) this.#served?.arriving.delete(span);
          else this.#served?.arriving.set(span, arriving);
        },
        onSpan: (span) => this.#served?.spans.add(span),
        onBase: (base) => {
          if (this.#served !== undefined) this.#served.base = base;
        },
        ...(this.#options.onStart === undefined ? {} : { onStart: this.#options.onStart }),
        ...(this.#options.fromMedium === undefined ? {} : { fromMedium: this.#options.fromMedium }),
        ...(this.#options.rate === undefined ? {} : { rate: this.#options.rate }),
        ...(turns === undefined ? {} : { turns }),
        ...(deltas === undefined ? {} : { deltas }),
        ...(deltaCache === undefined ? {} : { deltaCache }),
        ...(signal === undefined ? {} : { signal }),
      });
    } finally {
      if (this.#served === undefined) await file?.close();
    }
  }

  async activate(): Promise<void> {
    await this.#slot?.activate(this.#artifact.size);
    this.#active = true;
  }

  /** After success: keeps what chunks the file has for the next update, and nothing that is of no further use. */
  async settle(): Promise<void> {
    const { baseIndexes, files, pagesPath } = this.#options;
    const { chunking } = this.#artifact;
    if (!(await baseIndexes.recall(this.path, chunking, () => undefined))) {
      const index = await localIndex(this.#artifact, this.#pages);
      // Where a page is missing nothing is kept.
      if (index !== undefined) await baseIndexes.keep(this.path, chunking, eachChunk(index));
    }
    if (this.#served !== undefined) return;
    await this.#pages.close();
    if (pagesPath === undefined) await files.remove(this.#pagesPath);
  }

  /** After a failure: what arrived stays where it is for the next run. */
  async giveUp(): Promise<void> {
    if (this.#served === undefined) {
      await this.#pages.close();
    } else {
      this.#options.content?.remove(this.#served);
      await this.#served.close();
    }
    if (!this.#active) await this.#slot?.close();
  }

  #serve(served: ServedFile): void {
    this.#served = served;
    this.#options.content?.add(served);
  }

  /** A file that is in its place is served as soon as its index is here. */
  async #serveWhole(): Promise<void> {
    const { clock, files, manifest, signal, sources, standing } = this.#options;
    const { root, size } = this.#artifact;
    const key = { namespace: manifest.namespace, root };
    const pages = new FailoverPages(key, () => sources(root), standing, clock, signal, this.#pages);
    const index = await IndexReader.open(root, size, pages);
    // Every page is asked for, so that neighbours find it here.
    for await (const span of index.allSpans()) await index.leaf(span);
    const served = new ServedFile(key, size, index.spans, await files.open(this.path, 'read'), this.#pages, clock, manifest);
    served.addAll();
    this.#serve(served);
  }
}

/** Whether the file in its place is the artifact already: the size first, then all of it. */
async function isThere(files: Files, path: string, artifact: ArtifactRecord, signal?: AbortSignal): Promise<boolean> {
  const stat = await files.stat(path);
  if (stat?.kind !== 'file' || stat.size !== artifact.size) return false;
  const file = await files.open(path, 'read');
  try {
    const sha256 = createHash('sha256');
    const buffer = new Uint8Array(READ_BYTES);
    for (let at = 0; at < stat.size; ) {
      signal?.throwIfAborted();
      const read = await file.read(buffer, at);
      if (read === 0) return false;
      sha256.update(buffer.subarray(0, read));
      at += read;
    }
    return sha256.digest('hex') === artifact.sha256;
  } finally {
    await file.close();
  }
}
