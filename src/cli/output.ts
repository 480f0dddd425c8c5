import { readFile } from 'node:fs/promises';
import type { SingleBar } from 'cli-progress';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { unreadable } from '../store/files.ts';

/** Text for people goes to standard error, so that standard output has nothing but results. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One JSON object on a line of standard output. */
export function emit(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A number of bytes as people read it. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(value) : value.toFixed(value < 10 ? 2 : 1)} ${units[unit] ?? ''}`;
}

export interface Progress {
  update(done: number, total: number): void;
  /** Until the next update: for a line of text in between, or at the end. */
  stop(): void;
}

/** Share done, rate and time left; nothing at all when standard error is not a terminal. */
export function progress(label: string): Progress {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined };
  let bar: SingleBar | undefined;
  // Loaded where there is a terminal: most runs have none, and every start would pay for it.
  void import('cli-progress').then(({ SingleBar }) => {
    bar = new SingleBar({ format: `${label} {bar} {percentage}% {done}/{all}  {rate}/s  {eta_formatted} left`, stream: process.stderr, hideCursor: true });
  });
  const started = performance.now();
  let running = false;
  return {
    update: (done, total) => {
      if (bar === undefined) return;
      if (!running) bar.start(total, 0, { done: '', all: '', rate: '' });
      running = true;
      bar.update(done, { done: formatBytes(done), all: formatBytes(total), rate: formatBytes((done * 1000) / Math.max(1, performance.now() - started)) });
    },
    stop: () => {
      if (running) bar?.stop();
      running = false;
    },
  };
}

/** Shows a failure as one sentence and what to do; never a stack trace. Returns the exit code. */
export function report(error: unknown, json: boolean): number {
  const known = isShoalError(error);
  const message = error instanceof Error ? error.message : String(error);
  say(`shoal: ${message}`);
  if (known && error.hint !== undefined) say(`       ${error.hint}`);
  if (json) emit({ ok: false, error: known ? error.code : 'INTERNAL', message, ...(known ? { ids: error.ids } : {}) });
  return known && error.code === 'BAD_USAGE' ? 2 : 1;
}

/** A signal that Ctrl-C and SIGTERM abort, until `end`. `why` is what the user then reads. */
export function interruptible(why: string): { readonly signal: AbortSignal; end(): void } {
  const stop = new AbortController();
  const interrupt = (): void => {
    stop.abort(new ShoalError('INTERRUPTED', why, { retry: 'again' }));
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  return { signal: stop.signal, end: () => process.removeListener('SIGINT', interrupt).removeListener('SIGTERM', interrupt) };
}

/** Ends when the process is told to: SIGINT or SIGTERM. */
export function untilToldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  });
}

/** The trust root that devices are given. Throws `UNREADABLE`. */
export async function readTrustRoot(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw unreadable(cause, path, 'the trust root');
  }
}
