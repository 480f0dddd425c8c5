import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { METADATA_MAX_BYTES, UPLOADS_KEPT, UPLOAD_MAX_FILE_BYTES } from '../../core/limits.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import type { UploadArtifact, UploadFile, UploadGap } from '../../core/wire.ts';
import { acceptRelease } from '../../publish/release.ts';
import type { AcceptReleaseOptions } from '../../publish/release.ts';
import type { UploadAnswer, UploadDesk, UploadResult } from '../../serve/upload-routes.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import { Serial } from '../../store/serial.ts';
import type { StoreWriter } from '../../store/types.ts';
import { sha256 } from '../../trust/metadata.ts';
import { readConfig } from '../../trust/repository/home.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import { isStagedPath, readStaging } from '../../trust/repository/staging.ts';
import { loadState } from '../../trust/repository/state.ts';
import { verifyStaging } from '../../trust/repository/verify-staged.ts';
import { UploadSession } from './upload-session.ts';

const PREFIX = 'upload-';
/** A commit that makes deltas is answered so soon at the latest, and asked for again. */
const COMMIT_WAIT_MS = 10_000;

/** How long the result of one is kept for somebody to ask. */
const COMMIT_KEPT_MS = 600_000;

/** What happens around releases' becoming visible. */
export interface ReleaseHooks {
  /** Makes the deltas of the releases in a staging directory whose content is in the store. `all`: there is nothing left to make. */
  readonly before?: (staging: string) => Promise<{ readonly deltas: number; readonly all: boolean }>;
  /** How long that takes at most, milliseconds. */
  readonly beforeMs?: number;
  /** Told what has become visible without all of its deltas, before the uploader is. */
  readonly after?: (releases: readonly ReleaseManifest[]) => Promise<void>;
}

/**
 * Takes staging directories over the network. The signed metadata comes first and is checked against the repository before
 * a byte of content is taken; then only what the signed roots reach, each piece verified; last everything becomes visible
 * at once, by the same acceptance as from a directory. An upload is named by its files, so whoever begins it again goes on.
 */
export class HomeUploads implements UploadDesk {
  readonly #home: TrustHome;
  readonly #store: StoreWriter;
  readonly #clock: Clock;
  readonly #releases: ReleaseHooks;
  readonly #files = new Map<string, ReadonlyMap<string, UploadFile>>();
  readonly #sessions = new Map<string, UploadSession>();
  /** Beginnings and checks, one at a time; and commits, which may take as long as deltas do. */
  readonly #turns = new Serial();
  readonly #commits = new Serial();
  /** By upload: commits that are under way, or whose result nobody has heard yet. */
  readonly #committing = new Map<string, Promise<UploadResult>>();

  constructor(home: TrustHome, store: StoreWriter, clock: Clock, releases: ReleaseHooks = {}) {
    this.#releases = releases;
    this.#home = home;
    this.#store = store;
    this.#clock = clock;
  }

  begin(files: readonly UploadFile[]): Promise<UploadAnswer> {
    return this.#turns.run(async () => {
      const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
      const listed = new Map(sorted.map((file) => [file.path, file]));
      for (const { path } of sorted) if (!isStagedPath(path)) throw new ShoalError('BAD_STAGING', `${path.slice(0, 200)} does not belong into a staging directory`);
      const total = sorted.reduce((sum, { length }) => sum + length, 0);
      if (listed.size !== files.length || total > UPLOAD_MAX_FILE_BYTES) throw new ShoalError('BAD_STAGING', 'the staging directory has too many files, or one twice');
      const id = createHash('sha256').update(JSON.stringify(sorted.map(({ path, length, sha256: hash }) => [path, length, hash]))).digest('hex');
      this.#files.delete(id);
      this.#files.set(id, listed);
      await this.#makeRoom(id);
      const missing = [];
      for (const file of sorted) {
        const bytes = await readWhole(this.#home.files, join(this.#directory(id), file.path), METADATA_MAX_BYTES);
        if (bytes === undefined || sha256(bytes) !== file.sha256) missing.push(file.path);
      }
      return { id, missing };
    });
  }

  async file(id: string, path: string, bytes: Uint8Array): Promise<void> {
    const file = this.#listed(id).get(path);
    if (file === undefined) throw new ShoalError('UPLOAD_UNWANTED', `${path.slice(0, 200)} is not a file of this upload`);
    if (bytes.byteLength !== file.length || sha256(bytes) !== file.sha256) throw new ShoalError('UPLOAD_DAMAGED', `${path} is not the file that was announced`, { ids: { path } });
    const to = join(this.#directory(id), path);
    await makeDirectories(this.#home.files, dirname(to));
    await writeDurably(this.#home.files, to, bytes);
  }

  check(id: string): Promise<readonly UploadArtifact[]> {
    return this.#turns.run(async () => {
      this.#listed(id);
      const directory = this.#directory(id);
      const under = this.#committing.has(id) ? this.#sessions.get(id) : undefined;
      if (under !== undefined) return [...under.artifacts.values()];
      const verified = await verifyStaging(this.#home, await readConfig(this.#home), await loadState(this.#home), directory, await readStaging(this.#home, directory));
      const artifacts = (verified?.releases ?? []).flatMap(artifactsOf);
      await this.#sessions.get(id)?.close();
      this.#sessions.set(id, new UploadSession(this.#store, this.#clock, artifacts));
      return artifacts;
    });
  }

  missing(id: string, root: ObjectId, from: number): Promise<UploadGap> {
    return this.#session(id).missing(root, from);
  }

  page(id: string, root: ObjectId, page: ObjectId, bytes: Uint8Array): Promise<void> {
    return this.#session(id).putPage(root, page, bytes);
  }

  span(id: string, root: ObjectId, span: number, set: string, bytes: Uint8Array, coding: string | undefined): Promise<void> {
    return this.#session(id).putSpan(root, span, set, bytes, coding);
  }

  async commit(id: string, deltasLater: boolean): Promise<UploadResult | undefined> {
    let running = this.#committing.get(id);
    if (running === undefined) {
      const session = this.#session(id);
      running = this.#commits.run(() => this.#commit(id, session, deltasLater));
      this.#committing.set(id, running);
      const forget = (): void => void this.#clock.after(COMMIT_KEPT_MS, () => this.#committing.delete(id), 'background');
      // Whoever asks again is told; if nobody does, it is forgotten.
      running.then(forget, forget);
    }
    const result = await this.#soon(running).catch((error: unknown) => {
      this.#committing.delete(id);
      throw error;
    });
    if (result !== undefined) this.#committing.delete(id);
    return result;
  }

  async #commit(id: string, session: UploadSession, deltasLater: boolean): Promise<UploadResult> {
    const { before, beforeMs = 0, after } = this.#releases;
    let made = { deltas: 0, all: false };
    const options: AcceptReleaseOptions = before === undefined || deltasLater ? {} : {
      beforeMs,
      beforeVisible: async () => {
        // The content is held by now; whoever makes deltas of it writes to the store.
        await session.close();
        made = await before(this.#directory(id));
      },
    };
    const { changed, releases } = await session.holding(() => acceptRelease(this.#home, this.#directory(id), this.#store, undefined, options));
    await this.#drop(id);
    if (releases.length > 0 && !made.all) await after?.(releases);
    return { changed, deltas: made.deltas, releases: releases.map(({ product, version, sequence }) => ({ product, version, sequence })) };
  }

  /** The result, or undefined when it takes longer than anybody should wait for an answer. */
  async #soon(running: Promise<UploadResult>): Promise<UploadResult | undefined> {
    let cancel = (): void => undefined;
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#clock.after(COMMIT_WAIT_MS, () => { resolve(undefined); });
    });
    try {
      return await Promise.race([running, late]);
    } finally {
      cancel();
    }
  }

  async close(): Promise<void> {
    await this.#commits.run(() => Promise.resolve());
    await this.#turns.run(async () => {
      for (const session of this.#sessions.values()) await session.close();
    });
  }

  #directory(id: string): string {
    return join(this.#home.paths.staging, PREFIX + id);
  }

  #listed(id: string): ReadonlyMap<string, UploadFile> {
    const listed = this.#files.get(id);
    if (listed === undefined) throw unknownUpload();
    return listed;
  }

  #session(id: string): UploadSession {
    const session = this.#sessions.get(id);
    if (session === undefined) throw unknownUpload();
    return session;
  }

  async #drop(id: string): Promise<void> {
    await this.#sessions.get(id)?.close();
    this.#sessions.delete(id);
    this.#files.delete(id);
    await rm(this.#directory(id), { recursive: true, force: true });
  }

  /** Files of uploads that nobody ended go, those not touched for longest first. */
  async #makeRoom(id: string): Promise<void> {
    await mkdir(this.#home.paths.staging, { recursive: true });
    const kept: { readonly id: string; readonly touched: number }[] = [];
    for (const name of await this.#home.files.list(this.#home.paths.staging)) {
      const of = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || of === id || this.#committing.has(of)) continue;
      kept.push({ id: of, touched: (await this.#home.files.stat(join(this.#home.paths.staging, name)))?.modified ?? 0 });
    }
    kept.sort((a, b) => a.touched - b.touched);
    for (const each of kept.slice(0, Math.max(0, kept.length + 1 - UPLOADS_KEPT))) await this.#drop(each.id);
    for (const each of this.#files.keys()) {
      if (this.#files.size <= UPLOADS_KEPT) break;
      if (!this.#committing.has(each)) await this.#drop(each);
    }
  }
}

function unknownUpload(): ShoalError {
  return new ShoalError('UPLOAD_UNKNOWN', 'this server does not know the upload; begin it again', { retry: 'again' });
}

function artifactsOf({ namespace, product, version, artifacts }: ReleaseManifest): UploadArtifact[] {
  return artifacts.map(({ root, size, name }) => ({ namespace, root, size, name, release: `${product} ${version}` }));
}
