import { ShoalError, isShoalError } from '../core/errors.ts';
import { wire } from '../core/wire.ts';
import type { MetadataFetcher } from '../trust/types.ts';
import type { Upstream } from './upstream.ts';

/** TUF files from any host that serves the surface: origin, gateway or peer. What it says is for the trust client to judge. */
export class UpstreamMetadata implements MetadataFetcher {
  readonly #upstream: Upstream;

  constructor(upstream: Upstream) {
    this.#upstream = upstream;
  }

  get source(): string {
    return this.#upstream.url;
  }

  async fetch(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    // Nothing in a role or target name needs to be encoded in a path.
    const url = `${kind === 'metadata' ? wire.metadata : wire.targets}/${path}`;
    try {
      const { status, body } = await this.#upstream.get('control', url, maxBytes, {}, signal);
      if (status === 200) return body;
      if (status === 404) return undefined;
      throw new ShoalError('HTTP_STATUS', `${this.source} answered ${String(status)} for ${url}`, { ids: { upstream: this.source, path: url, status }, retry: 'elsewhere' });
    } catch (cause) {
      if (!isShoalError(cause, 'HTTP_TOO_LARGE')) throw cause;
      throw new ShoalError('TOO_LONG', cause.message, { cause, ids: cause.ids, retry: 'elsewhere' });
    }
  }
}
