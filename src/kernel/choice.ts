import { ShoalError } from '../core/errors.ts';

/** One hot loop's chosen implementation, for people and for `shoal --version --json`. */
export interface Tier {
  /** The implementation that runs, e.g. `native`. */
  readonly tier: string;
  /** Why a faster one does not run; absent when the fastest one does. */
  readonly reason?: string;
}

/**
 * Reads a tier switch from the environment.
 *
 * @returns the forced tier, or undefined when the best available one should run
 * @throws ShoalError `TIER_UNKNOWN` when the variable names no tier
 */
export function forcedTier<Name extends string>(variable: string, names: readonly Name[]): Name | undefined {
  const value = process.env[variable];
  if (value === undefined || value === '') return undefined;
  const name = names.find((each) => each === value);
  if (name === undefined) {
    throw new ShoalError('TIER_UNKNOWN', `${variable}=${value} names no tier; use one of: ${names.join(', ')}.`);
  }
  return name;
}

/** The first line of what went wrong; loaders put whole search paths into the rest. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] ?? text;
}

/** @throws ShoalError `TIER_UNAVAILABLE` always: a forced tier that cannot run is an error, not a silent fallback. */
export function unavailable(variable: string, name: string, reason: string): never {
  throw new ShoalError('TIER_UNAVAILABLE', `${variable}=${name} cannot be honoured: ${reason}.`);
}
