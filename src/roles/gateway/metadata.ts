import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { ShoalError, isShoalError } from '../../core/errors.ts';
import { GATEWAY_MAX_ABSENT, GATEWAY_MAX_METADATA_FILES, GATEWAY_RECHECK_MS, METADATA_MAX_BYTES } from '../../core/limits.ts';
import { wire } from '../../core/wire.ts';
import type { MetadataProvider } from '../../serve/content.ts';
import { makeDirectories, readWhole, removeTemporaries, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import { ByteLru } from '../../store/lru.ts';
import { Absent, InFlight } from './absent.ts';
import type { Upstream } from '../../exchange/upstream.ts';

interface Kept {
  readonly path: string;
  readonly etag: string | undefined;
  readonly bytes: Uint8Array;
  readonly byteLength: number;
}

/** Files kept in memory: a fleet's current metadata is a fraction of this. */
const MEMORY_BYTES = 16 * 1024 * 1024;
/** A head line before the bytes in a file. */
const HEAD_MAX_BYTES = 2_048;

/**
 * The trust files of an upstream, passed on and kept. A gateway has no keys and judges no signature: devices do. It asks
 * for what changes at most once per poll interval, however many devices ask it, and serves what it has when the upstream
 * is gone, until that expires. Targets are checked against the hash in their name.
 */
export class GatewayMetadata implements MetadataProvider {
  readonly #directory: string;
  readonly #files: Files;
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #today: () => number;
  readonly #pollMs: number;
  readonly #memory = new ByteLru<string, Kept>(MEMORY_BYTES);
  readonly #checked = new Map<string, number>();
  readonly #absent: Absent;
  readonly #running = new InFlight<Uint8Array | undefined>();
  #written = 0;

  static async open(options: GatewayMetadataOptions): Promise<GatewayMetadata> {
    await makeDirectories(options.files, options.directory);
    await removeTemporaries(options.files, options.directory);
    return new GatewayMetadata(options);
  }

  private constructor({ directory, files, upstream, clock, today, pollMs }: GatewayMetadataOptions) {
    this.#directory = directory;
    this.#files = files;
    this.#upstream = upstream;
    this.#clock = clock;
    this.#today = today;
    this.#pollMs = pollMs;
    this.#absent = new Absent(clock, pollMs, GATEWAY_MAX_ABSENT);
  }

  metadata(name: string): Promise<Uint8Array | undefined> {
    const maxAge = /^[0-9]+\./.test(name) ? GATEWAY_RECHECK_MS : this.#pollMs;
    return this.#file(`${wire.metadata}/${name}`, maxAge, checkMetadata);
  }

  target(path: string): Promise<Uint8Array | undefined> {
    const hash = /(?:^|\/)([0-9a-f]{64}|[0-9a-f]{128})\.[^/]*$/.exec(path)?.[1];
    return this.#file(`${wire.targets}/${path}`, hash === undefined ? this.#pollMs : Infinity, (bytes) => {
      if (hash !== undefined && createHash(hash.length === 64 ? 'sha256' : 'sha512').update(bytes).digest('hex') !== hash) throw bad('a target that is not what its name says');
    });
  }

  #file(path: string, maxAge: number, check: (bytes: Uint8Array) => void): Promise<Uint8Array | undefined> {
    return this.#running.run(path, async () => {
      const kept = await this.#kept(path);
      const age = this.#clock.now() - (this.#checked.get(path) ?? -Infinity);
      if (kept !== undefined && (maxAge === Infinity || age < maxAge)) return kept.bytes;
      if (kept === undefined && this.#absent.has(path)) return undefined;
      try {
        return await this.#ask(path, kept, check);
      } catch (error) {
        if (kept === undefined || this.#expired(kept.bytes)) throw error;
        return kept.bytes;
      }
    });
  }

  async #ask(path: string, kept: Kept | undefined, check: (bytes: Uint8Array) => void): Promise<Uint8Array | undefined> {
    const { status, headers, body } = await this.#upstream.get('control', path, METADATA_MAX_BYTES, kept?.etag === undefined ? {} : { 'if-none-match': kept.etag });
    if (status === 304 && kept !== undefined) {
      this.#noteChecked(path);
      return kept.bytes;
    }
    if (status === 404 && kept === undefined) {
      this.#absent.add(path);
      return undefined;
    }
    if (status !== 200) throw bad(`status ${String(status)} for ${path}`);
    check(body);
    await this.#keep({ path, etag: headers.get('etag'), bytes: body, byteLength: body.byteLength });
    this.#noteChecked(path);
    return body;
  }

  async #kept(path: string): Promise<Kept | undefined> {
    const known = this.#memory.get(path);
    if (known !== undefined) return known;
    const bytes = await readWhole(this.#files, this.#fileOf(path), METADATA_MAX_BYTES + HEAD_MAX_BYTES);
    const end = bytes?.indexOf(10) ?? -1;
    if (bytes === undefined || end < 0) return undefined;
    const head = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as { readonly path: string; readonly etag?: string };
    if (head.path !== path) return undefined;
    const content = bytes.subarray(end + 1);
    const kept = { path, etag: head.etag, bytes: content, byteLength: content.byteLength };
    this.#memory.set(path, kept);
    return kept;
  }

  async #keep(kept: Kept): Promise<void> {
    this.#memory.set(kept.path, kept);
    const head = JSON.stringify({ path: kept.path, ...(kept.etag === undefined ? {} : { etag: kept.etag }) });
    // A head that would not fit comes from a strange upstream: it is served, and asked for again after a restart.
    if (head.length >= HEAD_MAX_BYTES) return;
    try {
      await writeDurably(this.#files, this.#fileOf(kept.path), Buffer.concat([Buffer.from(`${head}\n`), kept.bytes]));
    } catch (error) {
      // No room: devices get it all the same, from memory.
      if (!isShoalError(error, 'DISK_FULL')) throw error;
      return;
    }
    if (++this.#written % 64 === 1) await this.#prune();
  }

  /** Keeps the number of files bounded: those written longest ago go first. */
  async #prune(): Promise<void> {
    const names = await this.#files.list(this.#directory);
    if (names.length <= GATEWAY_MAX_METADATA_FILES) return;
    const dated = await Promise.all(names.map(async (name) => ({ name, modified: (await this.#files.stat(join(this.#directory, name)))?.modified ?? 0 })));
    dated.sort((a, b) => a.modified - b.modified);
    for (const { name } of dated.slice(0, names.length - GATEWAY_MAX_METADATA_FILES)) await this.#files.remove(join(this.#directory, name));
  }

  #noteChecked(path: string): void {
    this.#checked.delete(path);
    this.#checked.set(path, this.#clock.now());
    for (const oldest of this.#checked.keys()) {
      if (this.#checked.size <= GATEWAY_MAX_METADATA_FILES) return;
      this.#checked.delete(oldest);
    }
  }

  /** TUF 5.3.10 and its kin: what has expired must not be offered as news. */
  #expired(bytes: Uint8Array): boolean {
    try {
      const { signed } = JSON.parse(Buffer.from(bytes).toString()) as { readonly signed?: { readonly expires?: string } };
      return signed?.expires !== undefined && !(Date.parse(signed.expires) > this.#today());
    } catch (error) {
      // A target that is not JSON has no date of its own.
      if (error instanceof SyntaxError) return false;
      throw error;
    }
  }

  #fileOf(path: string): string {
    return join(this.#directory, createHash('sha256').update(path).digest('hex'));
  }
}

export interface GatewayMetadataOptions {
  readonly directory: string;
  readonly files: Files;
  readonly upstream: Upstream;
  readonly clock: Clock;
  /** The time of day, milliseconds since the epoch. */
  readonly today: () => number;
  readonly pollMs: number;
}

function checkMetadata(bytes: Uint8Array): void {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (cause) {
    throw bad('metadata that is not JSON', cause);
  }
  const { signed, signatures } = (value ?? {}) as { readonly signed?: unknown; readonly signatures?: unknown };
  if (typeof signed !== 'object' || signed === null || !Array.isArray(signatures)) throw bad('metadata without a signed part');
}

function bad(what: string, cause?: unknown): ShoalError {
  return new ShoalError('HTTP_BODY', `the upstream answered with ${what}`, { retry: 'elsewhere', ...(cause === undefined ? {} : { cause }) });
}
