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
  readonly gentle?: boolean;
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

/** Adds the flag for whoever fetches from the origin. */
export function withGentle(command: Command): Command {
  return command.option('--gentle', 'leave the line to the origin to others who need it: go slower as soon as its queue grows');
}

/** As a role takes them. */
export function limitsOf({ backhaulLimit, downloadLimit, gentle, uploadLimit }: LimitFlags): { readonly traffic: TrafficLimits } {
  return { traffic: {
    ...(downloadLimit === undefined ? {} : { download: downloadLimit }),
    ...(backhaulLimit === undefined ? {} : { backhaul: backhaulLimit }),
    ...(uploadLimit === undefined ? {} : { upload: uploadLimit }),
    ...(gentle === undefined ? {} : { gentle }),
  } };
}
