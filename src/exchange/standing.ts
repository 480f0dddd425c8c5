import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import type { Source } from './source.ts';

/** Errors that only a host which sends wrong bytes can cause. One is enough: there is no honest way to get there. */
const LIES = new Set(['CHUNK_MISMATCH', 'PAGE_MISMATCH', 'BAD_PAGE', 'TRUNCATED', 'TRAILING_BYTES', 'BAD_BITMAP', 'HTTP_BODY', 'HTTP_TOO_LARGE', 'ZSTD_CORRUPT', 'ZSTD_TOO_LARGE', 'DELTA_DAMAGED']);

/** Whether only a host that sends wrong bytes can have caused it. */
export function isLie(error: unknown): boolean {
  return isShoalError(error) && LIES.has(error.code);
}

/** Failures in a row after which a source rests, and for how long, doubling, milliseconds. */
const REST_AFTER = 2;
const REST_FIRST_MS = 500;
const REST_MOST_MS = 15_000;
/** How long a download goes on without a byte from anyone before it gives up, milliseconds. */
export const PATIENCE_MS = 60_000;

/** What a source did that no honest source does. */
export interface Evidence {
  readonly source: string;
  readonly code: string;
  readonly message: string;
  readonly ids: Readonly<Record<string, string | number>>;
}

/** Which sources may be asked at the moment: liars never again, failing ones after a rest. */
export class Standing {
  readonly #now: () => number;
  readonly #onLie: (evidence: Evidence) => void;
  readonly #banned = new Map<string, Evidence>();
  readonly #failures = new Map<string, { count: number; until: number; last: string }>();

  /** `onLie` is told once of every source that is caught. `banned` were caught earlier. */
  constructor(now: () => number, onLie: (evidence: Evidence) => void = () => undefined, banned: Iterable<Evidence> = []) {
    this.#now = now;
    this.#onLie = onLie;
    for (const evidence of banned) this.#banned.set(evidence.source, evidence);
  }

  mayAsk(source: Source): boolean {
    return !this.#banned.has(source.name) && (this.#failures.get(source.name)?.until ?? 0) <= this.#now();
  }

  banned(source: Source): boolean {
    return this.#banned.has(source.name);
  }

  succeeded(source: Source): void {
    this.#failures.delete(source.name);
  }

  /** Weighs a failure: one lie is enough, anything else may pass. */
  failed(source: Source, error: unknown): void {
    if (this.#banned.has(source.name)) return;
    if (isShoalError(error) && LIES.has(error.code)) {
      const evidence = { source: source.name, code: error.code, message: error.message, ids: error.ids };
      this.#banned.set(source.name, evidence);
      this.#onLie(evidence);
      return;
    }
    const count = (this.#failures.get(source.name)?.count ?? 0) + 1;
    const rest = count < REST_AFTER ? 0 : Math.min(REST_FIRST_MS * 2 ** (count - REST_AFTER), REST_MOST_MS);
    this.#failures.set(source.name, { count, until: this.#now() + rest, last: messageOf(error) });
  }

  /** Why nobody can be asked, source by source, as one error. */
  nobody(what: string, sources: readonly Source[]): ShoalError {
    const reasons = sources.map(({ name }) => {
      const lie = this.#banned.get(name);
      return lie === undefined ? (this.#failures.get(name)?.last ?? `${name} has it not`) : `${name} sent wrong bytes (${lie.code})`;
    });
    return new ShoalError('NO_SOURCE', `nobody can give ${what}: ${reasons.length === 0 ? 'no source is known' : reasons.join('; ')}`, {
      ids: { sources: sources.map(({ name }) => name).join(' ') },
      retry: 'again',
      hint: 'What has arrived is kept: run the same command again when a source is reachable.',
    });
  }
}
