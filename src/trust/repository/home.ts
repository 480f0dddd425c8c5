import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { DEFAULT_NAMESPACE } from '../../core/names.ts';
import { readWhole, writeDurably } from '../../store/durable.ts';
import { nodeFiles } from '../../store/files.ts';
import type { Files } from '../../store/files.ts';
import { ProcessLock } from '../../store/process-lock.ts';

/** Where things are in a home (docs/trust.md, "A home"). */
export interface HomePaths {
  readonly config: string;
  readonly offlineKeys: string;
  readonly onlineKeys: string;
  /** The trust root that devices are given. */
  readonly trustRoot: string;
  readonly metadata: string;
  readonly targets: string;
  readonly staging: string;
  readonly store: string;
  /** The fleet's own certificate authority, once there is one. */
  readonly fleet: string;
}

export function homePaths(directory: string): HomePaths {
  return {
    config: join(directory, 'config.json'),
    offlineKeys: join(directory, 'keys', 'offline'),
    onlineKeys: join(directory, 'keys', 'online'),
    trustRoot: join(directory, 'trust', 'root.json'),
    metadata: join(directory, 'metadata'),
    targets: join(directory, 'targets'),
    staging: join(directory, 'staging'),
    store: join(directory, 'store'),
    fleet: join(directory, 'fleet'),
  };
}

/** How long signatures last, in days. Online roles are signed again by the origin long before. */
export interface ExpiryDays {
  readonly root: number;
  readonly targets: number;
  readonly product: number;
  readonly deltas: number;
  readonly snapshot: number;
  readonly timestamp: number;
}

export const DEFAULT_EXPIRY_DAYS: ExpiryDays = { root: 365, targets: 365, product: 365, deltas: 30, snapshot: 7, timestamp: 1 };

export interface HomeConfig {
  readonly format: 1;
  /** `whole`: one machine does all; `offline`: signs and never serves; `server`: serves and holds no offline key. */
  readonly part: 'whole' | 'offline' | 'server';
  readonly namespace: string;
  readonly expiryDays: ExpiryDays;
  /** Which deltas the server makes of new releases, and at what cost (docs/operations.md). What is not said is default. */
  readonly deltas: DeltaConfig;
}

export interface DeltaConfig {
  /** `last:N`, versions joined by commas, or `none`. */
  readonly from?: string;
  /** Bytes of memory that making one may take. */
  readonly memoryBytes?: number;
  /** Seconds for all deltas of one release. */
  readonly seconds?: number;
}

/** A home and what its code works with. `exclusively` runs one change of the home at a time, across processes. */
export interface TrustHome {
  readonly directory: string;
  readonly paths: HomePaths;
  readonly files: Files;
  now(): Date;
  exclusively<T>(work: () => Promise<T>): Promise<T>;
}

/** A home on this machine's file system. */
export function trustHome(directory: string, now: () => Date = () => new Date()): TrustHome {
  return {
    directory,
    paths: homePaths(directory),
    files: nodeFiles,
    now,
    async exclusively(work) {
      if ((await nodeFiles.stat(directory)) === undefined) throw noHome(directory);
      const lock = new ProcessLock(join(directory, '.lock.db'));
      await lock.acquire(BUSY);
      try {
        return await work();
      } finally {
        lock.release();
      }
    },
  };
}

const BUSY = { code: 'HOME_BUSY', doing: 'changing this home', patienceMs: 30_000 };

export function noHome(directory: string): ShoalError {
  return new ShoalError('NO_HOME', `${directory} is not a Shoal home`, { ids: { home: directory }, hint: 'Run "shoal init" first, or name the home with --home.' });
}

/** Reads `config.json`. Throws `NO_HOME` when there is none. */
export async function readConfig(home: TrustHome): Promise<HomeConfig> {
  const bytes = await readWhole(home.files, home.paths.config, 1_048_576);
  if (bytes === undefined) throw noHome(home.directory);
  const value = configIn(Buffer.from(bytes).toString('utf8'));
  if (value === undefined) throw new ShoalError('BAD_CONFIG', `${home.paths.config} is not JSON that can be read`, { ids: { path: home.paths.config } });
  if (value.format !== 1) throw new ShoalError('BAD_CONFIG', `${home.paths.config} has a format this program does not know`, { ids: { path: home.paths.config } });
  return { format: 1, part: value.part ?? 'whole', namespace: value.namespace ?? DEFAULT_NAMESPACE, expiryDays: { ...DEFAULT_EXPIRY_DAYS, ...value.expiryDays }, deltas: value.deltas ?? {} };
}

function configIn(text: string): Partial<HomeConfig> | undefined {
  try {
    return (JSON.parse(text) ?? undefined) as Partial<HomeConfig> | undefined;
  } catch {
    return undefined;
  }
}

export async function writeConfig(home: TrustHome, config: HomeConfig): Promise<void> {
  await writeDurably(home.files, home.paths.config, Buffer.from(`${JSON.stringify(config, null, 2)}\n`));
}
