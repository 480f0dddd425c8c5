import { crc32 } from 'node:zlib';
import { ShoalError, isShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { Spares } from '../../core/spares.ts';
import { zstdCompressAsync, zstdDecompressAsync } from '../../kernel/zstd.ts';
import { chunkIdOf } from '../../merkle/verify.ts';
import { ByteLru } from '../lru.ts';
import { objectIsIntact } from '../reach.ts';
import type { Coding, ObjectKind, Run } from '../types.ts';
import { rawFrame, rawFrameLength } from '../zstd-frame.ts';
import { damaged } from './format.ts';
import type { Doubt, PackIndex } from './index-db.ts';
import type { BlockRow, ChunkRow, ObjectRow, Place } from './index-rows.ts';
import type { PackPool } from './pool.ts';

/** Bytes read from the medium and handed on at a time. */
const PIECE = 256 * 1024;
/** Buffers kept for the next stream. */
const SPARE = 32;
/** For what is encoded while somebody waits. */
const ON_THE_FLY_LEVEL = 3;

/** Part of one block, in decoded bytes. */
interface Piece {
  readonly block: BlockRow;
  readonly from: number;
  to: number;
}

/** What was read, for caches that keep what is used. */
export interface Touch {
  block(id: number): void;
  object(number: number): void;
}

/** Reads chunks and objects out of the packs. */
export class PackReader {
  readonly #index: PackIndex;
  readonly #pool: PackPool;
  readonly #touch: Touch | undefined;
  /** Decoded blocks by where they lie: reading several chunks of one block decodes it once. */
  readonly #decoded: ByteLru<string, Uint8Array>;
  readonly #decoding = new Map<string, Promise<Uint8Array>>();
  readonly #spares = new Spares(PIECE, SPARE);
  readonly #onDamage: (kind: Doubt, number: number) => void;

  /** `onDamage` is told what was read and is not what was written. */
  constructor(index: PackIndex, pool: PackPool, cacheBytes: number, onDamage: (kind: Doubt, number: number) => void, touch?: Touch) {
    this.#onDamage = onDamage;
    this.#index = index;
    this.#pool = pool;
    this.#decoded = new ByteLru(cacheBytes);
    this.#touch = touch;
  }

  /** What lies in a block that is in doubt is looked at: a chunk that is damaged is not here. */
  async has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    const rows = ids.map((id) => this.#index.chunk(id));
    if (!this.#index.hasDoubts) return rows.map((row) => row !== undefined);
    const here: boolean[] = [];
    for (const [at, row] of rows.entries()) here.push(row !== undefined && (await this.isSound(ids[at] as ObjectId, row)));
    return here;
  }

  /** Whether a chunk can be read: known without looking unless its block is in doubt. */
  async isSound(id: ObjectId, { block: number, offset, length }: ChunkRow): Promise<boolean> {
    const block = this.#index.isDoubted('block', number) ? this.#index.block(number) : undefined;
    if (block === undefined) return true;
    // Past the decoded blocks: what counts is what lies on the medium.
    const raw = await unlessDamaged(this.readBlock(block));
    return raw !== undefined && chunkIdOf(raw.subarray(offset, offset + length)) === id;
  }

  /** Whether an object can be read; looked at in any case. */
  async isSoundObject(row: ObjectRow): Promise<boolean> {
    const stored = await unlessDamaged(this.payload(row, 'an object'));
    return stored !== undefined && objectIsIntact(row.kind, row.id, stored);
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#found(async () => {
      const row = this.#index.chunk(id);
      const block = row && this.#index.block(row.block);
      if (row === undefined || block === undefined) return undefined;
      this.#touch?.block(block.id);
      return this.#slice({ block, from: row.offset, to: row.offset + row.length });
    });
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#found(async () => {
      const row = this.#index.object(kind, id);
      if (row === undefined) return undefined;
      this.#touch?.object(row.number);
      return this.#noting('object', row.number, () => this.payload(row, `object ${id.slice(0, 12)}…`));
    });
  }

  async runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    const pieces = this.#pieces(ids);
    if (pieces === undefined) return undefined;
    if (!accept.includes('zstd') || !pieces.some(({ block }) => block.coding === 'zstd')) return pieces.map((piece) => this.#plainRun(piece));
    const runs: Run[] = [];
    for (let at = 0; at < pieces.length; at++) {
      const piece = pieces[at] as Piece;
      if (piece.block.coding === 'identity') {
        runs.push(this.#framedRun(piece));
      } else if (isWhole(piece)) {
        runs.push(this.#storedRun(piece.block));
      } else {
        const parts = [piece];
        for (let next = pieces[at + 1]; next?.block.coding === 'zstd' && !isWhole(next); next = pieces[at + 1]) {
          parts.push(next);
          at++;
        }
        runs.push(await this.#encodedRun(parts));
      }
    }
    return runs;
  }

  /** The stored bytes of a block or object. Throws `STORE_DAMAGED` when they are not what was written. */
  async payload(place: Place, what: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(place.stored);
    const count = await this.#pool.use(place.pack, (file) => file.read(bytes, place.offset + place.head));
    if (count < bytes.byteLength || crc32(bytes) !== place.crc) throw damaged(place.pack, place.offset, what);
    return bytes;
  }

  /** The raw bytes of a whole block. */
  async decode(block: BlockRow): Promise<Uint8Array> {
    const key = `${String(block.pack)}:${String(block.offset)}`;
    const known = this.#decoded.get(key);
    if (known !== undefined) return known;
    let work = this.#decoding.get(key);
    if (work === undefined) {
      work = this.#noting('block', block.id, () => this.readBlock(block)).finally(() => this.#decoding.delete(key));
      this.#decoding.set(key, work);
      work.then((raw) => this.#decoded.set(key, raw), () => undefined);
    }
    return work;
  }

  /** The same from the medium, past every cache. */
  async readBlock(block: BlockRow): Promise<Uint8Array> {
    const stored = await this.payload(block, 'a block');
    if (block.coding === 'identity') return stored;
    const raw = await zstdDecompressAsync(stored, block.raw);
    if (raw.byteLength !== block.raw) throw damaged(block.pack, block.offset, 'a block');
    return raw;
  }

  async #slice({ block, from, to }: Piece): Promise<Uint8Array> {
    if (block.coding === 'zstd') return (await this.decode(block)).slice(from, to);
    const bytes = new Uint8Array(to - from);
    const count = await this.#pool.use(block.pack, (file) => file.read(bytes, block.offset + block.head + from));
    if (count < bytes.byteLength) throw damaged(block.pack, block.offset, 'a block');
    return bytes;
  }

  /** Looks up all chunks at once and joins neighbours. */
  #pieces(ids: readonly ObjectId[]): Piece[] | undefined {
    const pieces: Piece[] = [];
    for (const id of ids) {
      const row = this.#index.chunk(id);
      if (row === undefined) return undefined;
      const last = pieces.at(-1);
      if (last !== undefined && last.block.id === row.block && last.to === row.offset) {
        last.to += row.length;
        continue;
      }
      const block = this.#index.block(row.block);
      if (block === undefined) return undefined;
      this.#touch?.block(block.id);
      pieces.push({ block, from: row.offset, to: row.offset + row.length });
    }
    return pieces;
  }

  /** Identity: the stored bytes of a raw block, or the decoded ones, made when they are asked for. */
  #plainRun(piece: Piece): Run {
    const length = piece.to - piece.from;
    if (piece.block.coding === 'identity') {
      return { coding: 'identity', storedLength: length, rawLength: length, open: () => this.#stored(piece.block, piece.from, piece.to) };
    }
    const decode = (): Promise<Uint8Array> => this.decode(piece.block);
    const open = async function* (): AsyncGenerator<Uint8Array> {
      const raw = await decode();
      for (let at = piece.from; at < piece.to; at += PIECE) yield raw.subarray(at, Math.min(piece.to, at + PIECE));
    };
    return { coding: 'identity', storedLength: length, rawLength: length, open };
  }

  #storedRun(block: BlockRow): Run {
    return { coding: 'zstd', storedLength: block.stored, rawLength: block.raw, open: () => this.#stored(block, 0, block.stored) };
  }

  /** Raw bytes dressed as a zstd frame, so that one answer has one coding; costs three bytes in 128 KiB and no time. */
  #framedRun({ block, from, to }: Piece): Run {
    return { coding: 'zstd', storedLength: rawFrameLength(to - from), rawLength: to - from, open: () => rawFrame(to - from, this.#stored(block, from, to)) };
  }

  async #encodedRun(parts: readonly Piece[]): Promise<Run> {
    const raw = Buffer.concat(await Promise.all(parts.map((part) => this.#slice(part))));
    const encoded = await zstdCompressAsync(raw, { level: ON_THE_FLY_LEVEL });
    const open = async function* (): AsyncGenerator<Uint8Array> {
      await Promise.resolve();
      for (let at = 0; at < encoded.byteLength; at += PIECE) yield encoded.subarray(at, at + PIECE);
    };
    return { coding: 'zstd', storedLength: encoded.byteLength, rawLength: raw.byteLength, open };
  }

  /** Stored bytes `from` to `to` of a block, piece by piece. A whole payload is checked before its last piece leaves. */
  async *#stored(block: BlockRow, from: number, to: number): AsyncGenerator<Uint8Array> {
    const whole = from === 0 && to === block.stored;
    const buffer = this.#spares.take();
    try {
      yield* this.#pool.stream(block.pack, async function* (file) {
        let crc = 0;
        for (let at = from; at < to; ) {
          const piece = buffer.subarray(0, Math.min(PIECE, to - at));
          const count = await file.read(piece, block.offset + block.head + at);
          crc = whole ? crc32(piece, crc) : crc;
          at += piece.byteLength;
          if (count < piece.byteLength || (whole && at === to && crc !== block.crc)) throw damaged(block.pack, block.offset, 'a block');
          yield piece;
        }
      });
    } catch (cause) {
      if (isDamage(cause)) this.#onDamage('block', block.id);
      if (!isShoalError(cause, 'NO_SUCH_FILE')) throw cause;
      throw new ShoalError('RUN_EXPIRED', 'the stored bytes were moved since they were looked up; look them up again', { cause, retry: 'again' });
    } finally {
      this.#spares.give(buffer);
    }
  }

  async #noting<T>(kind: Doubt, number: number, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (isDamage(error)) this.#onDamage(kind, number);
      throw error;
    }
  }

  /** gc may take a pack away between the look-up and the read: look up again. */
  async #found<T>(read: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await read();
      } catch (error) {
        if (attempt === 3 || !isShoalError(error, 'NO_SUCH_FILE')) throw error;
      }
    }
  }
}

/** The bytes are not what was written: an error of the medium that says so itself may be over the next time. */
function isDamage(error: unknown): boolean {
  return ['STORE_DAMAGED', 'ZSTD_CORRUPT', 'ZSTD_TOO_LARGE'].some((code) => isShoalError(error, code));
}

/** Undefined for what cannot be read as it was written, whatever the reason. */
export async function unlessDamaged<T>(read: Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isDamage(error) || isShoalError(error, 'NO_SUCH_FILE') || isShoalError(error, 'FILE_IO')) return undefined;
    throw error;
  }
}

function isWhole({ block, from, to }: Piece): boolean {
  return from === 0 && to === block.raw;
}
