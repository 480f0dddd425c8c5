import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import { isName } from '../../core/names.ts';
import type { DeltaOutcome } from '../../publish/deltas.ts';
import { readWhole, writeDurably } from '../../store/durable.ts';
import { Serial } from '../../store/serial.ts';
import type { TrustHome } from '../../trust/repository/home.ts';

/** What the process that makes deltas says before it ends. */
export type DeltaNews =
  | { readonly outcomes: readonly DeltaOutcome[]; readonly interrupted: boolean }
  | { readonly error: string; readonly message: string };

export interface NewRelease {
  readonly product: string;
  readonly version: string;
}

export interface DeltaRunnerOptions {
  readonly home: TrustHome;
  readonly onOutcome?: (outcome: DeltaOutcome) => void;
  /** Told why there are none of a release. */
  readonly onError?: (error: unknown, where: string) => void;
}

/** Instead of a product: a staging directory follows. No product is called so. */
export const STAGED = '--staged';

/** Releases whose deltas are still to be made, so that an origin that was killed goes on with them. */
const PENDING = 'deltas-pending.json';
const PENDING_MAX = 256;
const PENDING_MAX_BYTES = 256 * 1024;

/**
 * Makes the deltas of releases that came in by upload, one release at a time, in a process of its own at low priority: what
 * they take of memory and processor, and whatever may go wrong with that, is not the serving process's.
 */
export class DeltaRunner {
  readonly #options: DeltaRunnerOptions;
  readonly #path: string;
  readonly #runs = new Serial();
  readonly #notes = new Serial();
  #pending: readonly NewRelease[];
  #child: ChildProcess | undefined;
  #closing = false;

  /** Goes on with what an earlier run has left. */
  static async open(options: DeltaRunnerOptions): Promise<DeltaRunner> {
    const { home } = options;
    const path = join(home.directory, PENDING);
    const pending = pendingIn(await readWhole(home.files, path, PENDING_MAX_BYTES).catch(() => undefined));
    const runner = new DeltaRunner(options, path, pending);
    for (const release of pending) runner.#start(release);
    return runner;
  }

  private constructor(options: DeltaRunnerOptions, path: string, pending: readonly NewRelease[]) {
    this.#options = options;
    this.#path = path;
    this.#pending = pending;
  }

  /** Returns when it is noted durably; the work comes later. */
  async add(releases: readonly NewRelease[]): Promise<void> {
    const fresh = releases.map(({ product, version }) => ({ product, version }));
    await this.#note([...this.#pending, ...fresh].slice(-PENDING_MAX));
    for (const release of fresh) this.#start(release);
  }

  /**
   * Makes the deltas of the releases in a staging directory that nobody is offered yet, and returns when that is done or `ms`
   * are over. Throws `BUSY` (again) when this ends meanwhile: the releases are to stay unseen then.
   */
  async first(staging: string, ms: number): Promise<{ readonly deltas: number; readonly all: boolean }> {
    let late = false;
    let made = { deltas: 0, all: false };
    const work = this.#runs.run(async () => {
      if (this.#closing || late) return;
      try {
        const news = await this.#run([STAGED, staging]);
        if ('error' in news) throw new ShoalError(news.error, news.message);
        for (const outcome of news.outcomes) this.#options.onOutcome?.(outcome);
        const there = news.outcomes.filter(({ result }) => result === 'made' || result === 'kept').length;
        made = { deltas: there, all: news.outcomes.every(({ result }) => result !== 'failed') };
      } catch (error) {
        // A release is out without its deltas rather than not at all.
        if (!this.#closing) this.#options.onError?.(error, 'deltas');
      }
    });
    let cancel = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      cancel = systemClock.after(ms, () => {
        late = true;
        resolve();
      });
    });
    await Promise.race([work, over]);
    cancel();
    if (this.#closing) throw new ShoalError('BUSY', 'this origin is ending; the release was not published', { retry: 'again' });
    return made;
  }

  /** Resolves when nothing is left to do. */
  idle(): Promise<void> {
    return this.#runs.run(() => Promise.resolve());
  }

  /** Stops what is under way; the next run makes it. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#child?.kill('SIGTERM');
    await this.idle();
    await this.#notes.run(() => Promise.resolve());
  }

  #start(release: NewRelease): void {
    void this.#runs.run(async () => {
      if (this.#closing) return;
      const where = `deltas of ${release.product} ${release.version}`;
      try {
        const news = await this.#run([release.product, release.version]);
        if (this.#closing && 'interrupted' in news && news.interrupted) return;
        if ('error' in news) throw new ShoalError(news.error, news.message);
        for (const outcome of news.outcomes) this.#options.onOutcome?.(outcome);
      } catch (error) {
        if (this.#closing) return;
        this.#options.onError?.(error, where);
      }
      // Also what failed: a release whose deltas take the machine's last memory must not do so at every start.
      await this.#note(this.#pending.filter((each) => each.product !== release.product || each.version !== release.version)).catch((error: unknown) => this.#options.onError?.(error, where));
    });
  }

  #run(what: readonly [string, string]): Promise<DeltaNews> {
    // The same place from src and, compiled, from dist.
    const program = fileURLToPath(new URL(`./delta-child${extname(import.meta.url)}`, import.meta.url));
    const child = fork(program, [this.#options.home.directory, ...what], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child = child;
    return new Promise((resolve, reject) => {
      let news: DeltaNews | undefined;
      child.once('message', (said) => { news = said as DeltaNews; });
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.#child = undefined;
        if (news !== undefined) resolve(news);
        else reject(new ShoalError('DELTA_PROCESS', `the process that makes them ended with ${signal ?? `code ${String(code)}`}`, { retry: 'again', hint: 'Try "shoal delta" with less --delta-memory.' }));
      });
    });
  }

  #note(pending: readonly NewRelease[]): Promise<void> {
    this.#pending = pending;
    return this.#notes.run(() => writeDurably(this.#options.home.files, this.#path, Buffer.from(JSON.stringify(this.#pending))));
  }
}

/** What can be read of the list; one that is damaged is as if it was not there, and "shoal delta" makes what is missing. */
function pendingIn(bytes: Uint8Array | undefined): readonly NewRelease[] {
  try {
    const list = JSON.parse(Buffer.from(bytes ?? []).toString('utf8')) as readonly Partial<NewRelease>[];
    return list.flatMap(({ product, version }) => (typeof product === 'string' && typeof version === 'string' && isName(product) && isName(version) ? [{ product, version }] : []));
  } catch {
    return [];
  }
}
