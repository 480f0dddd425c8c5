import { createRequire } from 'node:module';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { requireCodecs } from '../container/codec.ts';
import { encodeViews } from '../container/views.ts';
import { ShoalError, messageOf } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_MAX_BYTES } from '../core/limits.ts';
import { DeltaApplier } from '../delta/apply.ts';
import { memoryPlan } from '../delta/making/budget.ts';
import { fileBase } from '../delta/file-base.ts';
import { deltaFileParts, openDeltaFile } from '../delta/file.ts';
import { inLanes } from '../delta/lanes.ts';
import type { Spending } from '../delta/spending/ledger.ts';
import { makeDelta, roomBehind } from '../delta/making/make.ts';
import type { DeltaOutline } from '../delta/manifest.ts';
import { spending } from '../delta/spending/spent.ts';
import { canScratch, keepBelow, scratchMemory, settleScratch } from '../kernel/scratch.ts';
import { checkDeltaOutput } from './delta-output.ts';
import { nodeFiles, unreadable } from '../store/files.ts';
import type { OpenFile } from '../store/files.ts';

/** The delta engine on files: what `shoal diff`, `shoal patch` and `shoal inspect` do. */

export interface DiffOptions {
  /** Bytes of memory that diffing may take, the two files included; undefined: the two files and two bytes for each base byte. */
  readonly memoryBytes?: number;
  /** Bytes alone: compressed streams stay closed, references where they are. A larger delta, made sooner. Default no. */
  readonly plain?: boolean;
  readonly segmentPayload?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number) => void;
}

/** Segments decoded at the same time. Two take half the time on two cores, and 15 MiB more. */
const LANES = 1;

/** Segments end where target bytes are a multiple of this: two MiB is what a span of a published artifact has on average. */
const SPAN_BYTES = 2 * 1024 * 1024;
/** Of text, which is made of what came before it: a file comes whole, so that there is nothing to resume. */
const SEGMENT_PAYLOAD = 4 * 1024 * 1024;
/** Read into scratch memory between two looks at how much the process has. */
const SCRATCH_READ_BYTES = 8 * 1024 * 1024;
/** A delta file names no roots. */
const NO_ROOT = '0'.repeat(64) as ObjectId;

async function opened(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    throw unreadable(cause, path);
  }
}

async function sizeOf(path: string): Promise<number> {
  const file = await opened(path);
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** The bytes of a file; in scratch memory in `folder` when that is given, or else with `behind` of its size bytes behind them. */
async function loaded(path: string, folder: string | undefined, behind: (size: number) => number = () => 0): Promise<Buffer> {
  const file = await opened(path);
  try {
    const { size } = await file.stat();
    if (size > DELTA_MAX_BYTES) throw new ShoalError('ARTIFACT_TOO_LARGE', `${path} has ${String(size)} bytes; deltas are made of at most ${String(DELTA_MAX_BYTES)}`, { ids: { path } });
    const bytes = folder === undefined ? Buffer.allocUnsafeSlow(size + behind(size)).subarray(0, size) : scratchMemory(folder, size);
    for (let done = 0; done < size; ) {
      // One read fills at most 2 GiB.
      const { bytesRead } = await file.read(bytes, done, Math.min(size - done, folder === undefined ? 2 ** 30 : SCRATCH_READ_BYTES), done);
      settleScratch();
      if (bytesRead === 0) throw new ShoalError('FILE_CHANGED', `${path} became shorter while it was read`, { ids: { path }, retry: 'again' });
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

export interface DiffReport {
  readonly bytes: number;
  readonly oldBytes: number;
  readonly newBytes: number;
  readonly segments: number;
  readonly mapBytes: number;
}

/**
 * Writes one self-contained delta file, proven by decoding it before anything is written.
 *
 * Where the two files do not fit into `memoryBytes`, copies of them lie beside the delta meanwhile.
 *
 * @throws ShoalError `BAD_OUTPUT`, `UNREADABLE`, `FILE_CHANGED`, `MEMORY_CAP`, `NO_SCRATCH` when there is no room for these; what
 * `makeDelta` and the file layer throw
 */
export async function diffFiles(oldPath: string, newPath: string, deltaPath: string, options: DiffOptions = {}): Promise<DiffReport> {
  await checkDeltaOutput(deltaPath, [oldPath, newPath]);
  if (options.memoryBytes === undefined) return diffWithin(undefined, undefined, oldPath, newPath, deltaPath, options);
  const { indexBytes, below } = memoryPlan(options.memoryBytes, await sizeOf(oldPath), await sizeOf(newPath), canScratch);
  if (below === undefined) return diffWithin(indexBytes, undefined, oldPath, newPath, deltaPath, options);
  return keepBelow(below, () => diffWithin(indexBytes, dirname(deltaPath), oldPath, newPath, deltaPath, options));
}

async function diffWithin(indexBytes: number | undefined, scratch: string | undefined, oldPath: string, newPath: string, deltaPath: string, options: DiffOptions): Promise<DiffReport> {
  const base = await loaded(oldPath, scratch, roomBehind);
  const target = await loaded(newPath, scratch);
  const spanEnds = Array.from({ length: Math.ceil(target.length / SPAN_BYTES) }, (_, i) => Math.min(target.length, (i + 1) * SPAN_BYTES));
  options.signal?.throwIfAborted();
  const made = await makeDelta({ root: NO_ROOT, bytes: base, roomBehind: scratch === undefined ? roomBehind(base.length) : 0 }, { root: NO_ROOT, bytes: target }, spanEnds, {
    ...(indexBytes === undefined ? {} : { indexBytes }),
    ...(options.plain === true ? { containers: false, structure: false } : {}),
    segmentPayload: options.segmentPayload ?? SEGMENT_PAYLOAD,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  const bytes = await writeFile(deltaPath, async (file) => {
    let at = 0;
    for (const part of deltaFileParts(made)) {
      await file.write(part, at);
      at += part.length;
    }
    return at;
  });
  const { pages, segments } = made.manifest;
  return { bytes, oldBytes: base.length, newBytes: target.length, segments: segments.length, mapBytes: pages.reduce((sum, { size }) => sum + size, 0) };
}

export interface PatchReport {
  readonly bytes: number;
  readonly deltaBytes: number;
}

/**
 * Rebuilds NEW beside its place and shows it under its name when every segment is right and on the medium. Memory: a
 * segment and what it reads, whatever the sizes.
 *
 * @throws ShoalError `BAD_OUTPUT`; `WRONG_BASE` before anything is written when OLD has another size; `BASE_DRIFTED` when it is another
 * all the same, and `DELTA_WRONG`, before NEW appears; `DELTA_FEATURE` when this installation lacks a compressor; what `DeltaApplier.segment` and `openDeltaFile` throw
 */
export async function patchFile(oldPath: string, deltaPath: string, newPath: string, options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {}): Promise<PatchReport> {
  // OLD may be replaced: it is whole until NEW is.
  await checkDeltaOutput(newPath, [deltaPath]);
  const base = await opened(oldPath);
  try {
    const file = await opened(deltaPath);
    try {
      const { size } = await file.stat();
      const delta = await openDeltaFile(file, size);
      const { outline } = delta;
      const baseSize = (await base.stat()).size;
      if (baseSize !== outline.base.size) {
        throw wrongBase(oldPath, baseSize, outline);
      }
      if (outline.views !== undefined) await requireCodecs(outline.views);
      const applier = new DeltaApplier(outline, delta, fileBase(base.fd));
      await writeFile(newPath, (out) => writeSegments(applier, out, outline.target.size, options));
      return { bytes: outline.target.size, deltaBytes: size };
    } finally {
      await file.close();
    }
  } finally {
    await base.close();
  }
}

async function writeSegments(applier: DeltaApplier, out: OpenFile, total: number, options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void }): Promise<void> {
  const longest = applier.segments.reduce((most, { length }) => Math.max(most, length), 0);
  // Segments that copy from earlier ones find them there: lanes beside each other would not.
  const written = { read: async (buffer: Uint8Array, offset: number, length: number, position: number) => ({ bytesRead: await out.read(buffer.subarray(offset, offset + length), position) }) };
  let done = 0;
  await inLanes(applier.segments.length, LANES, () => {
    const buffer = Buffer.allocUnsafeSlow(longest);
    return async (number) => {
      options.signal?.throwIfAborted();
      const bytes = await applier.segment(number, buffer, written);
      await out.write(bytes, applier.segments[number]?.begin ?? 0);
      done += bytes.length;
      options.onProgress?.(done, total);
    };
  });
  await applier.settle();
}

function wrongBase(path: string, size: number, outline: DeltaOutline): ShoalError {
  return new ShoalError('WRONG_BASE', `${path} has ${String(size)} bytes, the delta was made from ${String(outline.base.size)}`, { ids: { path } });
}

let written = 0;

/** Beside `path`, and no other's. */
function temporaryName(path: string): string {
  return `${path}.${String(process.pid)}-${String(++written)}.tmp`;
}

/** Temporary file, write, sync, rename, sync of the directory: `path` is the old bytes or the new ones whole. */
async function writeFile<T>(path: string, write: (file: OpenFile) => Promise<T>): Promise<T> {
  const temporary = temporaryName(path);
  try {
    const file = await nodeFiles.open(temporary, 'replace');
    let result: T;
    try {
      result = await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await nodeFiles.rename(temporary, path);
    await nodeFiles.syncDirectory(dirname(path));
    return result;
  } catch (error) {
    // The failure to report is the first one.
    await nodeFiles.remove(temporary).catch(() => undefined);
    throw error;
  }
}

export interface DeltaDescription {
  readonly outline: DeltaOutline;
  /** Whole file. */
  readonly bytes: number;
  readonly outlineBytes: number;
  /** Of the outline: the list of compressed streams. */
  readonly streamBytes: number;
  readonly mapBytes: number;
  readonly covers: number;
  /** Segments, target bytes and payload bytes by codec. */
  readonly codecs: Readonly<Record<'copy' | 'raw' | 'sites' | 'parts' | 'moved', { readonly segments: number; readonly target: number; readonly payload: number }>>;
}

/** What a delta file consists of. Throws what `openDeltaFile` throws. */
export async function describeDelta(path: string): Promise<DeltaDescription> {
  const file = await opened(path);
  try {
    const { size } = await file.stat();
    const { outline, outlineBytes } = await openDeltaFile(file, size);
    const count = (codec: number): { segments: number; target: number; payload: number } => {
      const own = outline.segments.filter((segment) => segment.codec === codec);
      return { segments: own.length, target: own.reduce((sum, { length }) => sum + length, 0), payload: own.reduce((sum, { payload }) => sum + (payload?.size ?? 0), 0) };
    };
    return {
      outline,
      bytes: size,
      outlineBytes,
      streamBytes: outline.views === undefined ? 0 : encodeViews(outline.views).length,
      mapBytes: outline.pages.reduce((sum, page) => sum + page.size, 0),
      covers: outline.pages.reduce((sum, page) => sum + page.covers, 0),
      codecs: { copy: count(0), raw: count(1), sites: count(2), parts: count(3), moved: count(4) },
    };
  } finally {
    await file.close();
  }
}

/** Where the payloads of a delta file go, by region and by what predicted it. Throws what `spending` and `openDeltaFile` throw. */
export async function deltaSpending(path: string, basePath: string, onProgress?: (done: number, total: number) => void): Promise<Spending> {
  const [file, base] = [await opened(path), await opened(basePath)];
  try {
    const delta = await openDeltaFile(file, (await file.stat()).size);
    const baseSize = (await base.stat()).size;
    if (baseSize !== delta.outline.base.size) throw wrongBase(basePath, baseSize, delta.outline);
    return await spending(delta.outline, delta, fileBase(base.fd), onProgress);
  } finally {
    await file.close();
    await base.close();
  }
}

interface Bsdiff {
  diff(oldFile: string, newFile: string, patchFile: string): Promise<void>;
}

/**
 * Writes a BSDIFF40 patch for devices that only have `bspatch`. Only for files of one's own: bsdiff-node loads both whole
 * and checks nothing.
 *
 * @throws ShoalError `BAD_OUTPUT`; `BSDIFF_MISSING` when the optional package is not installed; `BSDIFF_FAILED`
 */
export async function bsdiffFiles(oldPath: string, newPath: string, patchPath: string): Promise<{ readonly bytes: number; readonly oldBytes: number; readonly newBytes: number }> {
  await checkDeltaOutput(patchPath, [oldPath, newPath]);
  let bsdiff: Bsdiff;
  try {
    bsdiff = createRequire(import.meta.url)('bsdiff-node') as Bsdiff;
  } catch (cause) {
    throw new ShoalError('BSDIFF_MISSING', 'the package bsdiff-node, which makes BSDIFF40 patches, is not installed', { cause, hint: 'Install it where there is a C++ compiler: npm install bsdiff-node.' });
  }
  const oldBytes = await sizeOf(oldPath);
  const newBytes = await sizeOf(newPath);
  const temporary = temporaryName(patchPath);
  try {
    try {
      await bsdiff.diff(oldPath, newPath, temporary);
    } catch (cause) {
      throw new ShoalError('BSDIFF_FAILED', `bsdiff-node failed: ${messageOf(cause)}`, { cause });
    }
    const file = await nodeFiles.open(temporary, 'update');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await nodeFiles.rename(temporary, patchPath);
    await nodeFiles.syncDirectory(dirname(patchPath));
  } catch (error) {
    await nodeFiles.remove(temporary).catch(() => undefined);
    throw error;
  }
  return { bytes: await sizeOf(patchPath), oldBytes, newBytes };
}

