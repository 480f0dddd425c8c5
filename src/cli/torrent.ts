import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import { keepHeapSmall } from '../kernel/heap.ts';
import { DEFAULT_HOME } from './values.ts';
import { emit, formatBytes, interruptible, progress, say } from './output.ts';

export interface TorrentOfRelease {
  readonly infoHash?: string;
  /** Why there is none. */
  readonly torrentProblem?: { readonly error: string; readonly message: string };
}

/** Hashes the pieces of a release that is out. Never throws: the release stands. */
export async function torrentAfter(home: string, product: string, version: string): Promise<TorrentOfRelease> {
  const bar = progress('hashing pieces');
  const { signal, end } = interruptible('interrupted');
  try {
    const { releaseTorrent } = await import('../roles/torrent.ts');
    const { infoHash } = await releaseTorrent({ home, product, version, signal, onProgress: bar.update });
    bar.stop();
    say(`As torrent ${infoHash}.`);
    return { infoHash };
  } catch (error) {
    bar.stop();
    say(`No torrent of ${product} ${version}: ${messageOf(error)}`);
    return { torrentProblem: { error: isShoalError(error) ? error.code : 'INTERNAL', message: messageOf(error) } };
  } finally {
    bar.stop();
    end();
  }
}

export function addTorrent(program: Command): void {
  program
    .command('torrent')
    .summary('write a release as a .torrent for stock clients')
    .description('Write a release as a .torrent for stock BitTorrent clients. Runs on the server, beside a running origin.')
    .argument('<release>', 'NAME[@VERSION]; the newest version when none is named')
    .option('--origin <url...>', 'where "shoal origin --torrent" is reached from outside: web seed and tracker')
    .option('--tracker <url...>', 'further trackers')
    .option('-o, --output <file>', 'where to write it (default: NAME-VERSION.torrent here)')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nAn origin with --torrent serves the same at /v1/torrents/NAME/VERSION.torrent. Pieces are hashed once and kept.\nStock clients check pieces against the torrent, not signatures: take the .torrent from somebody you trust.\n\nExamples:\n  shoal torrent os --origin http://downloads.example:8480 --home fleet\n  shoal torrent os@1.4.0 -o os.torrent && aria2c --seed-time=0 os.torrent')
    .action(async (what: string, options: { origin?: string[]; tracker?: string[]; output?: string; home: string; json?: boolean }) => {
      keepHeapSmall();
      const { releaseTorrent } = await import('../roles/torrent.ts');
      const [product = '', version] = what.split('@', 2);
      const bar = progress('hashing');
      const { signal, end } = interruptible('interrupted; no torrent was written');
      try {
        const torrent = await releaseTorrent({
          home: options.home, product, signal, onProgress: bar.update, origins: options.origin ?? [], trackers: options.tracker ?? [],
          ...(version === undefined ? {} : { version }),
        });
        bar.stop();
        const path = options.output ?? `${product}-${torrent.version}.torrent`;
        await writeFile(path, torrent.bytes).catch((cause: unknown) => {
          throw new ShoalError('UNWRITABLE', `cannot write ${path}: ${messageOf(cause)}`, { cause, ids: { path } });
        });
        say(`${path}: ${product} ${torrent.version} as torrent ${torrent.infoHash}, ${formatBytes(torrent.bytes.byteLength)}.`);
        if (options.origin === undefined) say('It names no web seed: clients need others who have it, or --origin.');
        if (options.json === true) emit({ ok: true, path, product, version: torrent.version, name: torrent.name, infoHash: torrent.infoHash });
      } finally {
        bar.stop();
        end();
      }
    });
}
