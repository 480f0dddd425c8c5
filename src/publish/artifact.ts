import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { DEFAULT_CHUNKING } from '../chunk/params.ts';
import { SpanGrouper } from '../chunk/spans.ts';
import { walkCuts } from '../chunk/walk.ts';
import { ShoalError } from '../core/errors.ts';
import { unreadable } from '../store/files.ts';
import { ARTIFACT_MAX_BYTES } from '../core/limits.ts';
import type { ArtifactRecord, ChunkingRecord } from '../core/manifest.ts';
import { parseName } from '../core/names.ts';
import { IndexBuilder } from '../merkle/build.ts';
import { sealChunk } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { StoreBatch, StoredArtifact } from '../store/types.ts';
import { SpanBuffer } from './span-buffer.ts';

export interface ArtifactInput {
  /** A regular file or block device. Only read. */
  readonly path: string;
  /** Unique within the release. */
  readonly name: string;
  /** What it is for on the device; `image` when nothing else is said. */
  readonly role?: string;
}

export interface IngestOptions {
  readonly namespace: string;
  readonly chunking?: ChunkingRecord;
  /** Called after every span with bytes read so far and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface IngestedArtifact {
  /** For the release manifest. */
  readonly record: ArtifactRecord;
  /** For the batch's commit. */
  readonly stored: StoredArtifact;
  /** Bytes that the store took for it: what was not there before, compressed. */
  readonly addedBytes: number;
}

/**
 * Reads a file once, in memory of a few spans whatever its size, and puts what is new of it into `batch`: chunks, and
 * all pages of its index. Nothing is visible until the caller commits the batch, so a file that cannot be read to its
 * end leaves no trace.
 *
 * @throws ShoalError `BAD_NAME`; `UNREADABLE` when the file cannot be opened or read; `ARTIFACT_TOO_LARGE`; `FILE_CHANGED`
 * when it was written to meanwhile, because the result would be a mixture that nobody has tested. An abort of `signal`
 * passes through; what the batch throws, too.
 */
export async function ingestArtifact(batch: Pick<StoreBatch, 'putSpan' | 'putPage'>, input: ArtifactInput, options: IngestOptions): Promise<IngestedArtifact> {
  const name = parseName('artifact', input.name);
  const role = parseName('role', input.role ?? 'image');
  const namespace = parseName('namespace', options.namespace);
  const chunking = options.chunking ?? DEFAULT_CHUNKING;
  const file = await openForReading(input.path);
  try {
    const before = await identity(file);
    if (before.size > ARTIFACT_MAX_BYTES) {
      throw new ShoalError('ARTIFACT_TOO_LARGE', `${input.path} has ${String(before.size)} bytes; the largest artifact has ${String(ARTIFACT_MAX_BYTES)}`, { ids: { path: input.path } });
    }
    const sha256 = createHash('sha256');
    const grouper = new SpanGrouper<Member>();
    const buffer = new SpanBuffer();
    const index = new IndexBuilder((page) => batch.putPage(page));
    let addedBytes = 0;
    let done = 0;
    const putSpan = async (span: readonly Member[]): Promise<void> => {
      addedBytes += await batch.putSpan(span.map(({ chunk }) => chunk));
      await index.addSpan(span.map(({ id, length }) => ({ id, length })));
      for (const { length } of span) done += length;
      options.onProgress?.(done, Math.max(before.size, done));
      options.signal?.throwIfAborted();
    };

    for await (const { length, bytes } of walkCuts(readable(file, input.path), chunking)) {
      // The walk lends its buffer for one step: what is hashed is the copy that is kept.
      const kept = buffer.keep(bytes, grouper.begins(length));
      sha256.update(kept);
      const chunk = sealChunk(kept);
      for (const span of grouper.add({ id: chunk.id, length, chunk })) await putSpan(span);
    }
    const last = grouper.end();
    if (last !== undefined) await putSpan(last);

    const after = await identity(file);
    if (after.modified !== before.modified || after.size !== before.size || (before.regular && done !== before.size)) {
      throw new ShoalError('FILE_CHANGED', `${input.path} changed while it was read`, {
        ids: { path: input.path },
        retry: 'again',
        hint: 'Publish a file that nothing writes to any more.',
      });
    }
    const { root, bytes: size, spans } = await index.finish();
    return {
      record: { name, role, root, size, sha256: sha256.digest('hex'), chunking },
      stored: { namespace, root, size, spans },
      addedBytes,
    };
  } finally {
    await file.close();
  }
}

interface Member {
  readonly id: VerifiedChunk['id'];
  readonly length: number;
  readonly chunk: VerifiedChunk;
}

interface FileIdentity {
  readonly regular: boolean;
  /** 0 for a block device, whose size stat does not tell. */
  readonly size: number;
  readonly modified: bigint;
}

async function openForReading(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw unreadable(cause, path);
  }
  const stat = await file.stat();
  if (stat.isFile() || stat.isBlockDevice()) return file;
  await file.close();
  throw new ShoalError('UNREADABLE', `${path} is neither a file nor a block device`, { ids: { path } });
}

async function identity(file: FileHandle): Promise<FileIdentity> {
  const stat = await file.stat({ bigint: true });
  return { regular: stat.isFile(), size: Number(stat.size), modified: stat.mtimeNs };
}

/** The file with its path in every error. */
function readable(file: FileHandle, path: string): Pick<FileHandle, 'read'> {
  const read = async (buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number; buffer: Uint8Array }> => {
    try {
      return await file.read(buffer, offset, length, position);
    } catch (cause) {
      throw unreadable(cause, path);
    }
  };
  return { read: read as FileHandle['read'] };
}
