import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { HANG_S } from './processes.ts';
import type { Processes, Started } from './processes.ts';

export interface TorrentAgent extends Started {
  /** Where the product belongs. */
  readonly path: string;
  /** Lines that it printed, parsed; grows. */
  readonly events: Readonly<Record<string, unknown>>[];
  /** What it printed of the release that it installed. */
  installed(): Promise<Readonly<Record<string, unknown>>>;
  stop(): Started['ended'];
}

/** A fleet on loopback with a listener for stock clients, and agents that take part in its torrents. */
export class TorrentFleet {
  readonly #processes: Processes;
  #origin = '';
  #torrents = '';
  #count = 0;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  get origin(): string {
    return this.#origin;
  }

  /** Where stock clients are answered. */
  get torrents(): string {
    return this.#torrents;
  }

  get trust(): string {
    return join(this.#processes.folder, 'home', 'trust', 'root.json');
  }

  /** `home` in the folder of the processes has releases; `products` are opened. */
  async start(...products: readonly string[]): Promise<void> {
    const started = this.#processes.start(['origin', '--home', join(this.#processes.folder, 'home'), '--listen', '127.0.0.1:0', '--torrent', '127.0.0.1:0', '--torrent-products', ...products]);
    const { url, torrents } = (await started.ready) as { readonly url: string; readonly torrents: string };
    [this.#origin, this.#torrents] = [url, torrents];
  }

  /** The torrent of a release with the tracker alone: whoever has it takes all from others. */
  async bare(release: string): Promise<string> {
    const path = join(this.#processes.folder, `${release}.torrent`);
    await this.#processes.must('torrent', release, '--tracker', this.#torrents + wire.tracker, '-o', path, '--home', join(this.#processes.folder, 'home'));
    return path;
  }

  /** An agent at a place of its own, or at that of an earlier one. */
  async agent(product: string, args: readonly string[], before?: TorrentAgent): Promise<TorrentAgent> {
    const place = before === undefined ? join(this.#processes.folder, `agent-${String(this.#count++)}`) : join(before.path, '..');
    await mkdir(place, { recursive: true });
    const path = join(place, product);
    const started = this.#processes.start([
      'agent', `${product}=${path}`, '--origin', this.#origin, '--trust', this.trust, '--state', join(place, 'state'), '--listen', '127.0.0.1:0', '--no-mdns', '--torrent', this.#torrents, ...args,
    ]);
    const events: Readonly<Record<string, unknown>>[] = [];
    let rest = '';
    started.child.stdout?.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) events.push(JSON.parse(line) as Record<string, unknown>);
    });
    await started.ready;
    return {
      ...started, events, path,
      installed: async () => {
        const done = (): Readonly<Record<string, unknown>> | undefined => events.find(({ event }) => event === 'installed');
        await vi.waitFor(() => { expect(done()).toBeDefined(); }, { timeout: HANG_S * 1000, interval: 50 });
        return done() ?? {};
      },
      stop: () => {
        started.child.kill('SIGTERM');
        return started.ended;
      },
    };
  }
}
