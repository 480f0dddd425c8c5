import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { isShoalError } from '../core/errors.ts';
import { parseRates } from '../core/rates.ts';
import type { Rates } from '../core/rates.ts';
import type { TrafficLimits } from '../roles/traffic.ts';

export interface LimitFlags {
  readonly downloadLimit?: Rates;
  readonly backhaulLimit?: Rates;
  readonly uploadLimit?: Rates;
}

const WORDS = {
  download: 'most to fetch, bytes a second; others for times of day: 2M,22:00-06:00=none',
  backhaul: 'the same for what comes from the origin; neighbours that fetch from it at the same time share this',
  upload: 'the same for what is sent to others',
} as const;

/** Adds the flags for these limits. */
export function withLimits(command: Command, ...which: readonly (keyof typeof WORDS)[]): Command {
  for (const each of which) command.option(`--${each}-limit <rate>`, WORDS[each], parse);
  return command;
}

function parse(text: string): Rates {
  try {
    return parseRates(text);
  } catch (error) {
    throw new InvalidArgumentError(isShoalError(error) ? `${error.message}. ${error.hint ?? ''}` : String(error));
  }
}

/** As a role takes them. */
export function limitsOf({ backhaulLimit, downloadLimit, uploadLimit }: LimitFlags): { readonly traffic: TrafficLimits } {
  return { traffic: {
    ...(downloadLimit === undefined ? {} : { download: downloadLimit }),
    ...(backhaulLimit === undefined ? {} : { backhaul: backhaulLimit }),
    ...(uploadLimit === undefined ? {} : { upload: uploadLimit }),
  } };
}
