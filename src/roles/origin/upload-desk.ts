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

/**
 * Takes staging directories over the network. The signed metadata comes first and is checked against the repository before
 * a byte of content is taken; then only what the signed roots reach, each piece verified; last everything becomes visible
 * at once, by the same acceptance as from a directory. An upload is named by its files, so whoever begins it again goes on.
 */
export class HomeUploads implements UploadDesk {
  readonly #home: TrustHome;
  readonly #store: StoreWriter;
  readonly #clock: Clock;
  readonly #onReleases: (releases: readonly ReleaseManifest[]) => Promise<void>;
  readonly #files = new Map<string, ReadonlyMap<string, UploadFile>>();
  readonly #sessions = new Map<string, UploadSession>();
  /** Beginnings, checks and commits, one at a time. */
  readonly #turns = new Serial();

  /** `onReleases` is told what has become visible, before the uploader is. */
  constructor(home: TrustHome, store: StoreWriter, clock: Clock, onReleases: (releases: readonly ReleaseManifest[]) => Promise<void> = () => Promise.resolve()) {
    this.#onReleases = onReleases;
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

  commit(id: string): Promise<UploadResult> {
    return this.#turns.run(async () => {
      const session = this.#session(id);
      const { changed, releases } = await session.holding(() => acceptRelease(this.#home, this.#directory(id), this.#store, undefined));
      await this.#drop(id);
      if (releases.length > 0) await this.#onReleases(releases);
      return { changed, releases: releases.map(({ product, version, sequence }) => ({ product, version, sequence })) };
    });
  }

  async close(): Promise<void> {
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
      if (!name.startsWith(PREFIX) || of === id) continue;
      kept.push({ id: of, touched: (await this.#home.files.stat(join(this.#home.paths.staging, name)))?.modified ?? 0 });
    }
    kept.sort((a, b) => a.touched - b.touched);
    for (const each of kept.slice(0, Math.max(0, kept.length + 1 - UPLOADS_KEPT))) await this.#drop(each.id);
    for (const each of this.#files.keys()) {
      if (this.#files.size <= UPLOADS_KEPT) break;
      await this.#drop(each);
    }
  }
}

function unknownUpload(): ShoalError {
  return new ShoalError('UPLOAD_UNKNOWN', 'this server does not know the upload; begin it again', { retry: 'again' });
}

function artifactsOf({ namespace, product, version, artifacts }: ReleaseManifest): UploadArtifact[] {
  return artifacts.map(({ root, size, name }) => ({ namespace, root, size, name, release: `${product} ${version}` }));
}
