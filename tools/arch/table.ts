/**
 * Who may import whom in src/. Imports run downward; within a tier only types cross from folder to folder. A folder
 * that is not here fails the check: decide where it belongs first.
 */
export interface ArchTable {
  /** Lowest first. */
  readonly tiers: readonly (readonly string[])[];
  /** Value imports inside a tier that are wanted nevertheless: `from`, `to`, and why. */
  readonly sideways: readonly { readonly from: string; readonly to: string; readonly reason: string }[];
  /** Folders that see types of these folders alone, values of none. */
  readonly typesOnly: Readonly<Record<string, readonly string[]>>;
  /** Folders that must stay free of I/O, and so of `ioModules`. */
  readonly pure: readonly string[];
  readonly ioModules: readonly string[];
  /** Files directly in src/, and the folders they may not reach. */
  readonly entries: Readonly<Record<string, { readonly never: readonly string[] }>>;
}

export const table: ArchTable = {
  tiers: [
    ['core'],
    ['kernel'],
    ['container'],
    ['chunk', 'merkle', 'delta', 'plan'],
    ['store', 'trust', 'install', 'identity'],
    ['publish', 'serve', 'exchange', 'discover'],
    ['roles'],
    ['cli'],
  ],
  sideways: [
    { from: 'trust', to: 'store', reason: 'the file layer and the one way to write durably' },
    { from: 'identity', to: 'store', reason: 'the file layer and the one way to write durably' },
    { from: 'install', to: 'store', reason: 'the lock that a crash does not leave behind' },
  ],
  typesOnly: { dashboard: ['core'] },
  pure: ['core', 'plan'],
  ioModules: [
    'node:child_process',
    'node:cluster',
    'node:dgram',
    'node:dns',
    'node:fs',
    'node:fs/promises',
    'node:http',
    'node:http2',
    'node:https',
    'node:net',
    'node:sqlite',
    'node:tls',
    'node:worker_threads',
    'fastify',
  ],
  entries: { 'index.ts': { never: ['cli'] } },
};
