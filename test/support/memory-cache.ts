import type { ObjectId } from '../../src/core/ids.ts';
import { zstdDecompress } from '../../src/kernel/zstd.ts';
import type { VerifiedChunk, VerifiedPage } from '../../src/merkle/verify.ts';
import type { CacheStore, Coding, ObjectKind, Run, StoredArtifact } from '../../src/store/types.ts';

interface Block {
  readonly frame: Uint8Array | undefined;
  readonly raw: Uint8Array;
  readonly ids: readonly ObjectId[];
}

/** A cache without bound, in memory: whole blocks go out as they came when the reader asks for exactly them. */
export class MemoryCache implements CacheStore {
  readonly blocks: Block[] = [];
  readonly deltas = new Map<string, Uint8Array>();
  readonly #chunks = new Map<ObjectId, { readonly block: Block; readonly bytes: Uint8Array }>();
  readonly #pages = new Map<ObjectId, Uint8Array>();
  readonly #artifacts = new Map<string, StoredArtifact>();

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return Promise.resolve(ids.map((id) => this.#chunks.has(id)));
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#chunks.get(id)?.bytes);
  }

  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    const parts = ids.flatMap((id) => this.#chunks.get(id) ?? []);
    if (parts.length < ids.length) return Promise.resolve(undefined);
    const block = parts[0]?.block;
    if (accept.includes('zstd') && block?.frame !== undefined && block.ids.length === ids.length && block.ids.every((id, index) => id === ids[index])) {
      return Promise.resolve([runOf('zstd', block.frame, block.raw.byteLength)]);
    }
    const raw = Buffer.concat(parts.map(({ bytes }) => bytes));
    return Promise.resolve([runOf('identity', raw, raw.byteLength)]);
  }

  object(_kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#pages.get(id));
  }

  putSpan(chunks: readonly VerifiedChunk[], frame?: Uint8Array): Promise<number> {
    const raw = Buffer.concat(chunks.map(({ bytes }) => bytes));
    // What the interface promises of a frame is worth a check in a test.
    if (frame !== undefined && Buffer.compare(zstdDecompress(frame, raw.byteLength), raw) !== 0) throw new Error('the frame is not these chunks');
    const block = { frame: frame?.slice(), raw, ids: chunks.map(({ id }) => id) };
    this.blocks.push(block);
    for (const { id, bytes } of chunks) this.#chunks.set(id, { block, bytes: bytes.slice() });
    return Promise.resolve(frame?.byteLength ?? raw.byteLength);
  }

  putPage(page: VerifiedPage): Promise<void> {
    return Promise.resolve(void this.#pages.set(page.id, page.encoded));
  }

  putObject(_kind: 'delta', id: ObjectId, bytes: Uint8Array, owner: ObjectId): Promise<void> {
    return Promise.resolve(void this.deltas.set(`${owner} ${id}`, bytes.slice()));
  }

  deltaOf(owner: ObjectId, id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.deltas.get(`${owner} ${id}`));
  }

  note(artifact: StoredArtifact): Promise<void> {
    return Promise.resolve(void this.#artifacts.set(`${artifact.namespace}/${artifact.root}`, artifact));
  }

  artifacts(): Promise<readonly StoredArtifact[]> {
    return Promise.resolve([...this.#artifacts.values()]);
  }

  usage(): Promise<{ readonly bytes: number; readonly maxBytes: number }> {
    return Promise.resolve({ bytes: this.blocks.reduce((sum, { frame, raw }) => sum + (frame ?? raw).byteLength, 0), maxBytes: Infinity });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function runOf(coding: Coding, bytes: Uint8Array, rawLength: number): Run {
  const open = async function* (): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    // Uneven pieces: whoever reads them must not care where they end.
    for (let at = 0; at < bytes.byteLength; at += 100_003) yield bytes.subarray(at, at + 100_003);
  };
  return { coding, storedLength: bytes.byteLength, rawLength, open };
}

/** A store whose whole spans lie as one zstd frame each, as a pack store's do. */
export class FrameStore extends MemoryCache {
  async fill(sample: { readonly key: { readonly namespace: string; readonly root: ObjectId }; readonly bytes: Uint8Array; readonly spans: readonly { readonly chunks: readonly VerifiedChunk[] }[]; readonly pages: readonly VerifiedPage[] }, compress: (raw: Uint8Array) => Uint8Array): Promise<this> {
    for (const { chunks } of sample.spans) await this.putSpan(chunks, compress(Buffer.concat(chunks.map(({ bytes }) => bytes))));
    for (const page of sample.pages) await this.putPage(page);
    await this.note({ ...sample.key, size: sample.bytes.byteLength, spans: sample.spans.length });
    return this;
  }
}
