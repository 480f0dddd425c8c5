import { totalmem } from 'node:os';
import { ShoalError } from '../core/errors.ts';
import { isName } from '../core/names.ts';
import type { DeltaConfig } from '../trust/repository/home.ts';

/** From which earlier releases deltas are made. */
export type DeltaChoice = { readonly last: number } | { readonly versions: readonly string[] } | { readonly reported: number };

export interface DeltaPolicy {
  readonly from: DeltaChoice;
  /** Bytes of memory that making one delta may take, the two artifacts included. */
  readonly memoryBytes: number;
  /** For all deltas of one release. */
  readonly seconds: number;
}

/**
 * Two: most devices run the version before, and those that were off or failed once the one before that. Every further one
 * costs as much time again and saves less, for its delta is larger and fewer devices run it; whoever knows of more names them.
 */
export const LAST_RELEASES = 2;
/** A release is on offer meanwhile, so this only bounds how long the machine is busy. An image of 400 MB takes about a minute. */
const SECONDS = 600;
/** The share of the machine that a delta may take: a server has other things to do. */
const MEMORY_SHARE = 0.5;

const FORM = 'Give last:N, reported:N, versions joined by commas, or none.';
/** Each further one serves fewer devices. */
const REPORTED = 3;

/** Reads `last:N`, `reported:N` or `reported`, versions joined by commas, or `none`. Throws `BAD_USAGE`. */
export function parseDeltaChoice(text: string): DeltaChoice {
  if (text === 'none') return { last: 0 };
  const last = /^last:(\d{1,3})$/.exec(text)?.[1];
  if (last !== undefined) return { last: Number(last) };
  const reported = /^reported(?::(\d{1,3}))?$/.exec(text);
  if (reported !== null) return { reported: Number(reported[1] ?? REPORTED) };
  const versions = text.split(',');
  if (!versions.every(isName)) throw new ShoalError('BAD_USAGE', `"${text.slice(0, 80)}" does not say from which versions deltas are to be made`, { hint: FORM });
  return { versions: [...new Set(versions)] };
}

/** What `config` says, then `overrides`, then the defaults. Throws `BAD_CONFIG`, `BAD_USAGE`. */
export function deltaPolicy(config: DeltaConfig, overrides: DeltaConfig = {}): DeltaPolicy {
  const memoryBytes = overrides.memoryBytes ?? config.memoryBytes ?? Math.floor(machineMemory() * MEMORY_SHARE);
  const seconds = overrides.seconds ?? config.seconds ?? SECONDS;
  if (!Number.isFinite(memoryBytes) || memoryBytes <= 0 || !Number.isFinite(seconds) || seconds < 0 || typeof (config.from ?? '') !== 'string') {
    throw new ShoalError('BAD_CONFIG', 'the deltas of this home\'s config.json are not { "from": TEXT, "memoryBytes": N, "seconds": N }', { hint: FORM });
  }
  return { from: parseDeltaChoice(overrides.from ?? config.from ?? `last:${String(LAST_RELEASES)}`), memoryBytes, seconds };
}

/** What this process may have: of its control group, where there is one. */
function machineMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}
