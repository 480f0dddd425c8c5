import { ShoalError, isShoalError } from '../core/errors.ts';
import { wire } from '../core/wire.ts';
import type { MetadataFetcher } from '../trust/types.ts';
import type { Upstream } from './upstream.ts';

/**
 * TUF files from hosts that serve the surface (origin, gateway, peer): from the first that answers. What it says is for the
 * trust client to judge.
 */
export class UpstreamMetadata implements MetadataFetcher {
  readonly #now: () => readonly Upstream[];
  readonly #onAnswer: (path: string, upstream: Upstream) => void;

  /**
   * In the order in which they are asked. A function is called again at every question: neighbours come and go. `onAnswer` is
   * told whose file is taken.
   */
  constructor(upstreams: readonly Upstream[] | (() => readonly Upstream[]), onAnswer: (path: string, upstream: Upstream) => void = () => undefined) {
    this.#onAnswer = onAnswer;
    this.#now = typeof upstreams === 'function' ? upstreams : () => upstreams;
  }

  get hosts(): readonly MetadataFetcher[] {
    return this.#now().map((upstream) => new UpstreamMetadata([upstream], this.#onAnswer));
  }

  get source(): string {
    return this.#now().map(({ url }) => url).join(' or ');
  }

  async fetch(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    // Nothing in a role or target name needs to be encoded in a path.
    const url = `${kind === 'metadata' ? wire.metadata : wire.targets}/${path}`;
    let absent = false;
    let last: unknown = new ShoalError('HTTP_CONNECT', 'there is no host to ask for metadata');
    for (const upstream of this.#now()) {
      try {
        const { status, body } = await upstream.get('control', url, maxBytes, {}, signal);
        if (status === 200) {
          this.#onAnswer(path, upstream);
          return body;
        }
        // A neighbour has some targets and not others; that a role has no next version is an answer.
        if (status === 404 && kind === 'metadata') return undefined;
        if (status === 404) {
          absent = true;
          continue;
        }
        last = new ShoalError('HTTP_STATUS', `${upstream.url} answered ${String(status)} for ${url}`, { ids: { upstream: upstream.url, path: url, status }, retry: 'elsewhere' });
      } catch (cause) {
        if (isShoalError(cause, 'HTTP_TOO_LARGE')) throw new ShoalError('TOO_LONG', cause.message, { cause, ids: cause.ids, retry: 'elsewhere' });
        last = cause;
      }
    }
    if (absent) return undefined;
    throw last as Error;
  }
}
