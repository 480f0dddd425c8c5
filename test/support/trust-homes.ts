import { join } from 'node:path';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { Files } from '../../src/store/files.ts';
import { Serial } from '../../src/store/serial.ts';
import { TufClient } from '../../src/trust/client/client.ts';
import type { TufClientOptions } from '../../src/trust/client/client.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import type { AcceptReport } from '../../src/trust/repository/accept.ts';
import { homePaths } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { nextSequence, stageRelease } from '../../src/trust/repository/stage.ts';

export const START = Date.parse('2026-01-01T00:00:00Z');
export const DAY = 86_400_000;

/** A time of day that tests move by hand. */
export class Calendar {
  ms = START;
  readonly now = (): Date => new Date(this.ms);
}

export function testHome(directory: string, calendar: Calendar, files: Files = nodeFiles): TrustHome {
  const turns = new Serial();
  return { directory, paths: homePaths(directory), files, now: calendar.now, exclusively: (work) => turns.run(work) };
}

export function manifest(product: string, version: string, sequence: number, more: Partial<ReleaseManifest> = {}): ReleaseManifest {
  const artifact = {
    name: 'image.bin',
    role: 'image',
    root: 'ab'.repeat(32) as ObjectId,
    size: 1000,
    sha256: 'cd'.repeat(32),
    chunking: { algorithm: 'test', min: 16_384, avg: 65_536, max: 262_144 },
  };
  return { format: 1, namespace: 'default', product, version, sequence, minimumSource: 0, artifacts: [artifact], hardware: [], requiredFeatures: [], ...more };
}

export const noContent = { content: async (): Promise<void> => Promise.resolve() };
let staged = 0;

/** Stages and accepts one release in a whole home, or from an offline one to a server. */
export async function release(home: TrustHome, product: string, version: string, more: Partial<ReleaseManifest> = {}, offline: TrustHome = home): Promise<AcceptReport> {
  const directory = join(offline.paths.staging, String(++staged));
  await stageRelease(offline, directory, [manifest(product, version, await nextSequence(offline, product), more)]);
  return acceptStaged(home, directory, noContent);
}

export function device(directory: string, options: Pick<TufClientOptions, 'trustedRoot' | 'fetcher' | 'now'> & Partial<TufClientOptions>): Promise<TufClient> {
  return TufClient.open({ files: nodeFiles, directory, profile: { hardware: ['board-1'], features: ['base'] }, ...options });
}
