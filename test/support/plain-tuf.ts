import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Updater } from 'tuf-js';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { Calendar, testHome } from './trust-homes.ts';
import { serveTuf } from './tuf-server.ts';

/**
 * A repository of ours behind HTTP, and tuf-js on it without anything of Shoal: `updater` makes a new one, all with one state.
 * tuf-js takes the time from the machine, so this repository is signed now.
 */
export async function withPlainTuf(scratch: string, work: (home: TrustHome, updater: () => Updater) => Promise<void>): Promise<void> {
  const today = new Calendar();
  today.ms = Date.now();
  const home = testHome(join(scratch, 'plain-home'), today);
  await initHome(home);
  const server = await serveTuf(new RepositoryFiles(home));
  try {
    const [metadataDir, targetDir] = [join(scratch, 'plain', 'metadata'), join(scratch, 'plain', 'targets')];
    await mkdir(metadataDir, { recursive: true });
    await mkdir(targetDir);
    await writeFile(join(metadataDir, 'root.json'), await readFile(home.paths.trustRoot));
    await work(home, () => new Updater({ metadataDir, metadataBaseUrl: `${server.url}/metadata`, targetDir, targetBaseUrl: `${server.url}/targets` }));
  } finally {
    await server.close();
  }
}
