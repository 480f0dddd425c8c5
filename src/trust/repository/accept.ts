import { dirname, join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { makeDirectories, writeDurably } from '../../store/durable.ts';
import { readConfig } from './home.ts';
import type { TrustHome } from './home.ts';
import { commitNext } from './online.ts';
import { readStaging } from './staging.ts';
import { loadState, recover } from './state.ts';
import { verifyStaging } from './verify-staged.ts';
import type { VerifiedStaging } from './verify-staged.ts';

export interface AcceptOptions {
  /**
   * Brings the content of the releases from the staging directory into the store and returns when all of it is there, on
   * the medium; throws when something is missing. It runs before anything becomes visible and may run again.
   */
  content(releases: readonly ReleaseManifest[], directory: string): Promise<void>;
}

export interface AcceptReport {
  /** False when the very same staging was accepted before: nothing was left to do. */
  readonly changed: boolean;
  readonly releases: readonly ReleaseManifest[];
  /** What is no longer released; its content may be forgotten. */
  readonly retired: readonly { readonly product: string; readonly version: string }[];
}

/**
 * Takes a staging directory into the repository of a server (or whole) home: checks it against the home's own trusted
 * root, brings in the content, then makes metadata and releases visible at once. Power may fail at any point: what was
 * visible before stays, or all of the new is visible. Accepting the same staging again is no error.
 *
 * Throws `BAD_STAGING`, `STAGING_SIGNATURE`, `STAGING_REPLAYED`, `STAGING_RACED`, `STAGING_EXPIRED`, `STAGING_INCOMPLETE`,
 * `STAGING_DAMAGED`, `RELEASE_CHANGED`, `SEQUENCE_TOO_LOW`, `WRONG_NAMESPACE`, `NO_ONLINE_KEY`, `NOT_A_SERVER`.
 */
export async function acceptStaged(home: TrustHome, directory: string, options: AcceptOptions): Promise<AcceptReport> {
  const config = await readConfig(home);
  if (config.part === 'offline') throw new ShoalError('NOT_A_SERVER', `${home.directory} is an offline home: it publishes nothing itself`, { ids: { home: home.directory } });
  const check = async (): Promise<VerifiedStaging | undefined> => verifyStaging(home, config, await loadState(home), directory, await readStaging(home, directory));
  // The content may take minutes: it comes in before the home is locked, and the checks are made again under the lock.
  const first = await check();
  if (first !== undefined && first.releases.length > 0) await options.content(first.releases, directory);
  return home.exclusively(async () => {
    await recover(home);
    const verified = await check();
    if (verified === undefined) return { changed: false, releases: [], retired: [] };
    for (const [path, bytes] of verified.files) {
      const to = join(home.paths.targets, path);
      await makeDirectories(home.files, dirname(to));
      await writeDurably(home.files, to, bytes);
    }
    await commitNext(home, await loadState(home), config, verified.targets === undefined ? { roots: verified.roots, delegated: verified.delegated } : { roots: verified.roots, targets: verified.targets, delegated: verified.delegated });
    return { changed: true, releases: verified.releases, retired: verified.retired };
  });
}
