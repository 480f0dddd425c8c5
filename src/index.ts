/** Shoal's public entry: everything a program that embeds it may rely on, and nothing else. */
export { ShoalError, type Retry, type ErrorDetails, type ErrorIds, isShoalError } from './core/errors.ts';
export { type Tier, type Tiers, tiers } from './kernel/tiers.ts';
