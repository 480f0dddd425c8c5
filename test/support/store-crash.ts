import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Files } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import type { PackOptions } from '../../src/store/pack/store.ts';
import { missingFrom, putArtifact, sampleArtifact, sampleChunk, storedOf } from './artifacts.ts';
import type { SampleArtifact } from './artifacts.ts';
import { expect } from 'vitest';
import { CrashFiles } from './crash-files.ts';
import type { CrashPolicy } from './crash-files.ts';

/**
 * One recorded life of a store: releases that share most chunks are published, forgotten and collected, with small packs
 * so that packs roll over, are dropped and rewritten. SQLite does its own I/O, so its file is copied at every commit; at
 * a crash the store is given the last copy that was committed by then, an older one, or none.
 */
export interface RecordedLife {
  readonly files: CrashFiles;
  readonly artifacts: readonly SampleArtifact[];
  /** Copies of the index, and how long the history was when each was committed. */
  readonly copies: readonly { readonly point: number; readonly path: string }[];
  readonly options: PackOptions;
  dispose(): void;
}

/** A folder for index files. In memory where there is such a place: thousands of real syncs would be most of the time. */
export function scratchDirectory(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'shoal-crash-'));
}

/** A layer that says it synced files and did not: what the crash test must find out. */
export function withoutFileSync(files: CrashFiles): Files {
  return {
    open: async (path, mode) => Object.assign(await files.open(path, mode), { sync: () => Promise.resolve() }),
    rename: (from, to) => files.rename(from, to),
    remove: (path) => files.remove(path),
    linkFile: (from, to) => files.linkFile(from, to),
    replaceLink: (target, path) => files.replaceLink(target, path),
    readLink: (path) => files.readLink(path),
    removeDirectory: (path) => files.removeDirectory(path),
    makeDirectory: (path) => files.makeDirectory(path),
    syncDirectory: (path) => files.syncDirectory(path),
    list: (path) => files.list(path),
    free: (path) => files.free(path),
    stat: (path) => files.stat(path),
  };
}

const NOW = 1e12;
/** Three to five records a pack. */
const PACK_BYTES = 12 * 1024;
const key = (artifact: SampleArtifact): string => `${artifact.namespace}/${artifact.root}`;

/** `graceMs` 0 removes emptied packs at once, anything above with the next gc. */
export async function recordLife(releases: number, graceMs: number, wrap: (files: CrashFiles) => Files = (files) => files): Promise<RecordedLife> {
  const files = new CrashFiles();
  const directory = scratchDirectory();
  const copies: { point: number; path: string }[] = [];
  let now = NOW;
  let seed = 1;
  const options: PackOptions = {
    files: wrap(files), packBytes: PACK_BYTES, level: 1, graceMs, now: () => now,
    // The same uids in every run, so that a failure is repeated by its point and seed.
    randomBytes: (count) => Uint8Array.from({ length: count }, () => (seed = (seed * 48271) % 2147483647) & 255),
  };
  const indexPath = join(directory, 'live.sqlite');
  const onCommit = (): void => {
    const path = join(directory, `${String(copies.length)}.sqlite`);
    const reader = new DatabaseSync(indexPath);
    reader.prepare('VACUUM INTO ?').run(path);
    reader.close();
    copies.push({ point: files.points, path });
  };
  const store = await PackStore.open('/home/store', { ...options, indexPath, onCommit });
  const artifacts: SampleArtifact[] = [];
  for (let release = 0; release < releases; release++) {
    // Each release changes one span, inserts one and keeps two.
    const artifact = await sampleArtifact([[1, 2, 3], [10 * release + 20, 10 * release + 21], [4, 6], [10 * release + 25, 5, 10 * release + 27]]);
    artifacts.push(artifact);
    const batch = await store.begin();
    const abandoned = await store.begin();
    await Promise.all([putArtifact(batch, artifact), abandoned.putSpan([sampleChunk(1000 + release), sampleChunk(4)])]);
    files.mark(`committing ${key(artifact)}`);
    await batch.commit([storedOf(artifact)]);
    files.mark(`committed ${key(artifact)}`);
    await abandoned.abort();
    const old = artifacts[release - 2];
    if (old === undefined) continue;
    files.mark(`forgetting ${key(old)}`);
    await store.forget(old);
    files.mark(`forgotten ${key(old)}`);
    now += 61_000;
    await store.gc();
  }
  await store.close();
  return { files, artifacts, copies, options, dispose: () => rmSync(directory, { recursive: true }) };
}

/** Another release, published after every crash. */
let after: Promise<SampleArtifact> | undefined;

export type IndexFate = 'last' | 'older' | 'lost';

/** Crashes the life at `point`, opens what is left, and says what is wrong with it: an empty list when nothing is. */
export async function crashAndCheck(life: RecordedLife, point: number, policy: CrashPolicy, fate: IndexFate, scratch: string): Promise<readonly string[]> {
  const medium = life.files.crash(point, policy);
  const indexPath = prepareIndex(life, point, policy.seed, fate, scratch);
  const problems: string[] = [];
  const store = await PackStore.open('/home/store', { ...life.options, files: medium, indexPath, now: () => NOW + 1e9 });
  try {
    const marks = new Set(life.files.marksBefore(point));
    const visible = new Set((await store.artifacts()).map(({ namespace, root }) => `${namespace}/${root}`));
    for (const artifact of life.artifacts) {
      const name = key(artifact);
      const short = name.slice(0, 20);
      if (marks.has(`committed ${name}`) && !marks.has(`forgetting ${name}`) && !visible.has(name)) problems.push(`${short} was acknowledged and is lost`);
      if (!marks.has(`committing ${name}`) && visible.has(name)) problems.push(`${short} appeared before its commit`);
      if (marks.has(`forgotten ${name}`) && visible.has(name)) problems.push(`${short} came back after it was forgotten`);
      if (visible.has(name)) for (const id of await missingFrom(store, artifact)) problems.push(`${short} lacks ${id.slice(0, 12)}`);
    }
    // Life goes on without anybody's help: gc, verify and another release.
    const report = await store.verify();
    if (report.damaged.length > 0) problems.push(`${String(report.damaged.length)} ids are damaged`);
    if (report.incomplete.length > 0) problems.push(`${String(report.incomplete.length)} artifacts are incomplete`);
    const next = await (after ??= sampleArtifact([[1, 2, 3], [9001, 9002], [4, 6, 1000]]));
    const batch = await store.begin();
    await putArtifact(batch, next);
    await store.gc();
    await batch.commit([storedOf(next)]);
    await store.gc();
    for (const artifact of [...life.artifacts.filter((each) => visible.has(key(each))), next]) {
      for (const id of await missingFrom(store, artifact)) problems.push(`after going on, ${key(artifact).slice(0, 20)} lacks ${id.slice(0, 12)}`);
    }
  } catch (error) {
    problems.push(String(error));
  } finally {
    await store.close();
  }
  return problems;
}

function prepareIndex(life: RecordedLife, point: number, seed: number, fate: IndexFate, scratch: string): string {
  const committed = life.copies.filter((copy) => copy.point <= point);
  const chosen = fate === 'lost' ? undefined : fate === 'last' ? committed.at(-1) : committed[seed % Math.max(1, committed.length)];
  if (chosen === undefined) return ':memory:';
  const path = join(scratch, 'index.sqlite');
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  const copy = new DatabaseSync(chosen.path);
  copy.prepare('VACUUM INTO ?').run(path);
  copy.close();
  return path;
}

const modes: readonly CrashPolicy['mode'][] = ['random', 'drop', 'ordered', 'keep'];
const fates: readonly IndexFate[] = ['last', 'lost', 'older'];

/** Crashes at every point of every life, again and again with other losses, until there were `atLeast`. SHOAL_SEED repeats another run. */
export async function crashEverywhere(lives: readonly RecordedLife[], atLeast: number, scratch: string): Promise<number> {
  const first = Number(process.env.SHOAL_SEED ?? 1);
  const points = lives.reduce((sum, { files }) => sum + files.points + 1, 0);
  let crashes = 0;
  while (crashes < atLeast) {
    for (const life of lives) for (let point = 0; point <= life.files.points; point++) {
      const seed = first + crashes++;
      const policy = { seed, mode: modes[seed % modes.length] ?? 'random' };
      const fate = fates[seed % fates.length] ?? 'last';
      const problems = await crashAndCheck(life, point, policy, fate, scratch);
      expect(problems, `crash after operation ${String(point)} (${life.files.describe(point)}), ${policy.mode}, index ${fate}, SHOAL_SEED=${String(seed)}`).toEqual([]);
    }
  }
  console.log(`${String(crashes)} crashes over ${String(points)} points, seeds from ${String(first)}`);
  return crashes;
}
