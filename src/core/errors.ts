/**
 * What a caller may do about a failure:
 * - `never`: the same call fails again everywhere (bad input, wrong key);
 * - `again`: the same call may succeed later (time-out, disk full);
 * - `elsewhere`: this source is no use for it, another one may be (a peer that lies or is gone).
 */
export type Retry = 'never' | 'again' | 'elsewhere';

/** Names of things a failure is about: a source's URL, a chunk id, a path, a product. Values are shown to people. */
export type ErrorIds = Readonly<Record<string, string | number>>;

export interface ErrorDetails {
  readonly ids?: ErrorIds;
  readonly cause?: unknown;
  readonly retry?: Retry;
  /** One sentence that tells a person what to do about it, where there is something to do. */
  readonly hint?: string;
}

/**
 * The one error base. `code` is stable and part of the public interface: programs match on it, never on the message.
 * The message is one sentence for people that names the thing it is about.
 */
export class ShoalError extends Error {
  readonly code: string;
  readonly ids: ErrorIds;
  readonly retry: Retry;
  readonly hint: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ShoalError';
    this.code = code;
    this.ids = details.ids ?? {};
    this.retry = details.retry ?? 'never';
    this.hint = details.hint;
  }
}

/** Says whether `error` is a `ShoalError`, with the given code when one is named. */
export function isShoalError(error: unknown, code?: string): error is ShoalError {
  return error instanceof ShoalError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
