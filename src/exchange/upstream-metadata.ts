import { ShoalError, isShoalError } from '../core/errors.ts';
import type { MetadataFetcher } from '../trust/types.ts';
import { HostMetadata } from './host-metadata.ts';
import type { HeldFiles } from './host-metadata.ts';
import type { Upstream } from './upstream.ts';

/**
 * TUF files from hosts that serve the surface (origin, gateway, peer): from the first that answers. What it says is for the
 * trust client to judge.
 */
export class UpstreamMetadata implements MetadataFetcher {
  readonly #now: () => readonly Upstream[];
  readonly #onAnswer: (path: string, upstream: Upstream) => void;
  readonly #held: HeldFiles | undefined;

  /**
   * In the order in which they are asked. A function is called again at every question: neighbours come and go. `onAnswer` is
   * told whose file is taken; `held`: what need not be sent again.
   */
  constructor(upstreams: readonly Upstream[] | (() => readonly Upstream[]), onAnswer: (path: string, upstream: Upstream) => void = () => undefined, held?: HeldFiles) {
    this.#onAnswer = onAnswer;
    this.#held = held;
    this.#now = typeof upstreams === 'function' ? upstreams : () => upstreams;
  }

  get hosts(): readonly MetadataFetcher[] {
    return this.#now().map((upstream) => new HostMetadata(upstream, this.#onAnswer, this.#held));
  }

  get source(): string {
    return this.#now().map(({ url }) => url).join(' or ');
  }

  async fetch(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    let absent = false;
    let last: unknown = new ShoalError('HTTP_CONNECT', 'there is no host to ask for metadata');
    for (const upstream of this.#now()) {
      try {
        const bytes = await new HostMetadata(upstream, this.#onAnswer).fetch(kind, path, maxBytes, signal);
        // A neighbour has some targets and not others; that a role has no next version is an answer.
        if (bytes !== undefined || kind === 'metadata') return bytes;
        absent = true;
      } catch (cause) {
        if (isShoalError(cause, 'TOO_LONG')) throw cause;
        last = cause;
      }
    }
    if (absent) return undefined;
    throw last as Error;
  }
}
