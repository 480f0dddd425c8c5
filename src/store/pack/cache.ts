import { join } from 'node:path';
import { isShoalError } from '../../core/errors.ts';
import { chunkIdOf } from '../../merkle/verify.ts';
import { objectMismatch } from '../reach.ts';
import { Serial } from '../serial.ts';
import type { CacheStore, StoredArtifact } from '../types.ts';
import { Bits } from './bits.ts';
import { readCatalog, writeCatalog } from './catalog.ts';
import { PackEngine } from './engine.ts';
import { EngineReader } from './engine-reader.ts';
import type { PackOptions } from './engine.ts';
import type { Pins } from './pins.ts';
import { sweepPack } from './sweep.ts';
import type { Liveness } from './sweep.ts';

const MiB = 1024 * 1024;
const MOST_ARTIFACTS = 4096;
/** Packs a full cache is made of: what goes at a time is a small part of it. */
const PACKS = 16;
const LEAST_BYTES = 16 * MiB;
/** How much of a pack may be carried over because it was used: makes sure that emptying a pack gives room. */
const CARRIED_SHARE = 0.5;
/** How much stays when the disk is full. */
const GIVEN_UP_SHARE = 0.75;

export interface PackCacheOptions extends PackOptions {
  /** Bytes on the medium, at least 16 MiB; readers that are still in removed packs may hold a little more for a while. */
  readonly maxBytes: number;
}

/**
 * A bounded cache on disk: the pack store's files under another rule. When it is full the oldest pack goes; what was
 * read since it was written, or since the last time round, is carried over (the CLOCK rule on a log, so that a read
 * costs no write and eviction is one file removed). One process at a time; not synced at every put: what a crash loses
 * is fetched again, what it tears is recognised.
 */
export class PackCache extends EngineReader implements CacheStore {
  readonly #maxBytes: number;
  readonly #packBytes: number;
  readonly #used: { readonly blocks: Bits; readonly objects: Bits };
  readonly #catalog: string;
  #noted: readonly StoredArtifact[];
  readonly #noting = new Serial();
  readonly #evicting = new Serial();

  /** Throws `STORE_BUSY` when another process has the cache. */
  static async open(directory: string, options: PackCacheOptions): Promise<PackCache> {
    const maxBytes = Math.max(options.maxBytes, LEAST_BYTES);
    const packBytes = options.packBytes ?? Math.min(256 * MiB, Math.max(MiB, Math.floor(maxBytes / PACKS)));
    const used = { blocks: new Bits(), objects: new Bits() };
    // Level 3: a gateway compresses while somebody waits.
    const settings = { level: 3, graceMs: 10_000, ...options, packBytes };
    const engine = await PackEngine.open(directory, settings, () => Promise.resolve(), {
      block: (id) => void used.blocks.add(id),
      object: (number) => void used.objects.add(number),
    });
    await engine.enter();
    const catalog = join(directory, 'artifacts.json');
    // A cache may forget: a damaged list is an empty one.
    const noted = await readCatalog(engine.files, catalog).catch((error: unknown) => (isShoalError(error, 'STORE_DAMAGED') ? [] : Promise.reject(error as Error)));
    return new PackCache(engine, maxBytes, packBytes, used, catalog, noted);
  }

  private constructor(engine: PackEngine, maxBytes: number, packBytes: number, used: { blocks: Bits; objects: Bits }, catalog: string, noted: readonly StoredArtifact[]) {
    super(engine);
    this.#maxBytes = maxBytes;
    this.#packBytes = packBytes;
    this.#used = used;
    this.#catalog = catalog;
    this.#noted = noted;
  }

  putSpan(...[chunks, frame]: Parameters<CacheStore['putSpan']>): Promise<number> {
    return this.#put((pins) => this.engine.putter.span(chunks, pins, frame));
  }

  putPage(page: Parameters<CacheStore['putPage']>[0]): Promise<void> {
    return this.#put((pins) => this.engine.putter.page(page, pins));
  }

  async putObject(...[kind, id, bytes, owner]: Parameters<CacheStore['putObject']>): Promise<void> {
    if (chunkIdOf(bytes) !== id) throw objectMismatch(id);
    return this.#put((pins) => this.engine.putter.owned(kind, id, bytes, owner, pins));
  }

  note({ namespace, root, size, spans }: StoredArtifact): Promise<void> {
    return this.#noting.run(async () => {
      if (this.#noted.some((each) => each.namespace === namespace && each.root === root)) return;
      const noted = [...this.#noted, { namespace, root, size, spans }].slice(-MOST_ARTIFACTS);
      await writeCatalog(this.engine.files, this.#catalog, noted);
      this.#noted = noted;
    });
  }

  async artifacts(): Promise<readonly StoredArtifact[]> {
    return Promise.resolve(this.#noted);
  }

  async usage(): Promise<{ readonly bytes: number; readonly maxBytes: number }> {
    return Promise.resolve({ bytes: this.engine.bytes(), maxBytes: this.#maxBytes });
  }

  override async close(): Promise<void> {
    await this.#evicting.run(() => Promise.resolve());
    await this.engine.close();
  }

  async #put<T>(work: (pins: Pins) => Promise<T>): Promise<T> {
    const pins = this.engine.pins.open();
    try {
      const result = await work(pins).catch(async (error: unknown) => {
        // Somebody else filled the disk: a cache is what can give way. Once, or it would only turn over.
        if (!isShoalError(error, 'DISK_FULL') || !(await this.#evicting.run(() => this.#giveWay()))) throw error;
        return work(pins);
      });
      // Before the next pack could be begun there must be room for it.
      if (this.engine.bytes() + 2 * this.#packBytes > this.#maxBytes) await this.#evicting.run(() => this.#evict());
      return result;
    } finally {
      this.engine.pins.close(pins);
    }
  }

  /** Gives up a quarter of what is kept; says whether that gave room. */
  async #giveWay(): Promise<boolean> {
    const before = this.engine.bytes();
    await this.#evict(before * GIVEN_UP_SHARE);
    return this.engine.bytes() < before;
  }

  async #evict(room = this.#maxBytes - 2 * this.#packBytes): Promise<void> {
    const { index, pins } = this.engine;
    // Once round at most: carried blocks lose their mark, so the next time they go.
    for (const pack of index.packs()) {
      if (this.engine.bytes() <= room) break;
      if (pack.retired !== undefined) continue;
      let carry = pack.length * CARRIED_SHARE;
      const carried = new Set<number>();
      for (const block of index.blocksOf(pack.number)) {
        if (!this.#used.blocks.has(block.id) || carry < block.stored) continue;
        carry -= block.stored;
        carried.add(block.id);
        this.#used.blocks.delete(block.id);
      }
      const alive: Liveness = {
        whole: (block) => carried.has(block.id) || pins.block(block.id),
        chunk: () => false,
        object: (object) => {
          const used = this.#used.objects.has(object.number);
          this.#used.objects.delete(object.number);
          return used || pins.object(object.number);
        },
        // Who owns what is still here: a restart without an origin must not forget.
        claim: ({ kind, id }) => index.object(kind, id) !== undefined,
      };
      await this.#drop(pack, alive);
      await this.engine.removeRetired();
      // The bound holds: rather an expired run, which its reader asks for again, than a full disk.
      if (this.engine.bytes() > room) await this.engine.removeRetired(0);
    }
  }

  async #drop(pack: Parameters<typeof sweepPack>[1], alive: Liveness): Promise<void> {
    try {
      if ((await sweepPack(this.engine.sweepParts, pack, alive)) !== undefined) return;
    } catch (error) {
      if (!['STORE_DAMAGED', 'ZSTD_CORRUPT', 'ZSTD_TOO_LARGE'].some((code) => isShoalError(error, code))) throw error;
    }
    // Damaged: a cache has nothing to keep of it.
    this.engine.index.dropContents(pack.number);
    this.engine.index.retire(pack.number, this.engine.now());
    await this.engine.appender.flush();
  }
}
