import { ShoalError, isShoalError } from '../core/errors.ts';
import { etagOf } from '../core/etag.ts';
import { TIMESTAMP_MAX_BYTES } from '../core/limits.ts';
import { HEADER_ROOT, wire } from '../core/wire.ts';
import type { MetadataFetcher } from '../trust/types.ts';
import type { Upstream } from './upstream.ts';

/** Trust files that a device has verified and kept, under their names on the wire. */
export interface HeldFiles {
  metadata(name: string): Promise<Uint8Array | undefined>;
  target(path: string): Promise<Uint8Array | undefined>;
}

const TIMESTAMP = 'timestamp.json';

/**
 * TUF files from one host, with one short answer where there is no news: most of what an idle site costs is such polls. Whether
 * `timestamp.json` has changed is asked first, and the host says beside it which root is its newest, so that the one after it is not asked
 * for in vain; a target that is held is not asked for at all. The trust client gets the files in the order in which it asks, and judges
 * them as ever: a host that hides a root with this could as well say that there is none.
 */
export class HostMetadata implements MetadataFetcher {
  readonly #upstream: Upstream;
  readonly #onAnswer: (path: string, upstream: Upstream) => void;
  readonly #held: HeldFiles | undefined;
  /** Asked for before its turn. */
  #ahead: { readonly bytes: Uint8Array | undefined; readonly newestRoot: number } | undefined;

  constructor(upstream: Upstream, onAnswer: (path: string, upstream: Upstream) => void, held?: HeldFiles) {
    this.#upstream = upstream;
    this.#onAnswer = onAnswer;
    this.#held = held;
  }

  get source(): string {
    return this.#upstream.url;
  }

  async fetch(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (kind === 'target') return (await this.#held?.target(path)) ?? (await this.#ask(kind, path, maxBytes, signal)).bytes;
    if (path === TIMESTAMP) {
      const ahead = this.#ahead ?? (await this.#timestamp(maxBytes, signal));
      this.#ahead = undefined;
      return ahead.bytes;
    }
    const root = /^(\d+)\.root\.json$/.exec(path)?.[1];
    if (root !== undefined && this.#held !== undefined) {
      // What is wrong with it will be said when it is asked for in its turn.
      this.#ahead ??= await this.#timestamp(TIMESTAMP_MAX_BYTES, signal).catch(() => undefined);
      if (Number(root) > (this.#ahead?.newestRoot ?? Infinity)) return undefined;
    }
    return (await this.#ask(kind, path, maxBytes, signal)).bytes;
  }

  async #timestamp(maxBytes: number, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array | undefined; readonly newestRoot: number }> {
    const held = await this.#held?.metadata(TIMESTAMP);
    return this.#ask('metadata', TIMESTAMP, maxBytes, signal, held);
  }

  /** Throws `TOO_LONG`, and what the upstream throws. Undefined: it says that it has no such file. */
  async #ask(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal, held?: Uint8Array): Promise<{ readonly bytes: Uint8Array | undefined; readonly newestRoot: number }> {
    // Nothing in a role or target name needs to be encoded in a path.
    const url = `${kind === 'metadata' ? wire.metadata : wire.targets}/${path}`;
    try {
      const { status, headers, body } = await this.#upstream.get('control', url, maxBytes, held === undefined ? {} : { 'if-none-match': etagOf(held) }, signal);
      const newest = headers.get(HEADER_ROOT);
      const newestRoot = newest !== undefined && /^\d{1,9}$/.test(newest) ? Number(newest) : Infinity;
      if (status === 404) return { bytes: undefined, newestRoot };
      const bytes = status === 304 ? held : status === 200 ? body : undefined;
      if (bytes === undefined) throw new ShoalError('HTTP_STATUS', `${this.source} answered ${String(status)} for ${url}`, { ids: { upstream: this.source, path: url, status }, retry: 'elsewhere' });
      this.#onAnswer(path, this.#upstream);
      return { bytes, newestRoot };
    } catch (cause) {
      if (isShoalError(cause, 'HTTP_TOO_LARGE')) throw new ShoalError('TOO_LONG', cause.message, { cause, ids: cause.ids, retry: 'elsewhere' });
      throw cause;
    }
  }
}
