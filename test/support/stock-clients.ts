import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { wire } from '../../src/core/wire.ts';
import { ask } from './raw-http.ts';

/** For aria2c: alone with what the torrent names, and no other way to find others. */
export const ARIA2_ALONE = ['--no-conf', '--enable-dht=false', '--enable-dht6=false', '--bt-enable-lpd=false', '--enable-peer-exchange=false', '--disable-ipv6=true', '--console-log-level=warn'];

export interface RunningClient {
  readonly child: ChildProcess;
  /** What it said comes with a failure. */
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
}

/** Stock BitTorrent clients as real processes, all of them gone after `close`. */
export class StockClients {
  readonly #folder: string;
  readonly #running = new Set<ChildProcess>();

  /** `folder`: where they run. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  run(program: string, args: readonly string[]): RunningClient {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: this.#folder });
    this.#running.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text; });
    const ended = once(child, 'close').then(([code]) => {
      this.#running.delete(child);
      return { code: code as number | null, output };
    });
    return { child, ended };
  }

  async close(): Promise<void> {
    for (const client of this.#running) {
      const gone = once(client, 'exit');
      client.kill('SIGKILL');
      await gone;
    }
  }
}

/** What the tracker at `torrents` says of a torrent (BEP 48): how many clients have all of it, and how many have not. */
export async function scraped(torrents: string, infoHash: string): Promise<string> {
  return (await ask(torrents, `${wire.torrents}/scrape?info_hash=${infoHash.replace(/../g, '%$&')}`)).body.toString('latin1');
}
