import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** The real program, as a user starts it. */
const SHOAL = fileURLToPath(new URL('../../bin/shoal.mjs', import.meta.url));
const REPORT_PEAK = new URL('report-peak.ts', import.meta.url).href;
/** Imported by a process, makes it patient (`patient-clock.ts`). */
export const PATIENT = new URL('patient-clock.ts', import.meta.url).href;

/** After so long, seconds, a process that was to end hangs: who waits for ever waits longer, and a slow machine does not. */
export const HANG_S = 200;

export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null;
  /** The JSON object it printed last. */
  readonly last: Readonly<Record<string, unknown>>;
  readonly errors: string;
  readonly seconds: number;
  /** Most bytes resident; undefined when it was killed. */
  readonly peak: number | undefined;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** First line on standard output, parsed. Rejects with what it said when it ends without one. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Further modules for the process to load first. */
  readonly imports?: readonly string[];
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  return line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {};
}

/** The JSON object on the last line of what a command printed; an empty one when there is none. */
export function lastJson(out: string): Readonly<Record<string, unknown>> {
  return parsed(out.trim().split('\n').at(-1) ?? '');
}

/** Real processes of the program, all of them gone after `close`. */
export class Processes {
  readonly folder = mkdtempSync(join(tmpdir(), 'shoal-processes-'));
  readonly #running = new Set<Started>();
  #serial = 0;

  start(args: readonly string[], { env = {}, imports = [] }: StartOptions = {}): Started {
    const peakFile = join(this.folder, `peak-${String(this.#serial++)}`);
    const preload = [REPORT_PEAK, ...imports].flatMap((module) => ['--import', module]);
    const began = performance.now();
    const child = spawn(process.execPath, [...preload, SHOAL, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, SHOAL_TEST_PEAK: peakFile },
    });
    let out = '';
    let errors = '';
    let first: (line: Readonly<Record<string, unknown>>) => void = () => undefined;
    let never: (error: Error) => void = () => undefined;
    const ready = new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
      first = resolve;
      never = reject;
    });
    // Who only waits for the end does not look at it.
    ready.catch(() => undefined);
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.includes('\n')) first(parsed(out.slice(0, out.indexOf('\n'))));
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code) => {
        this.#running.delete(started);
        never(new Error(`shoal ${args.join(' ')} ended with ${String(code)}: ${errors.trim()}`));
        resolve({
          code, errors, last: lastJson(out), seconds: (performance.now() - began) / 1000,
          peak: existsSync(peakFile) ? Number(readFileSync(peakFile, 'utf8')) : undefined,
        });
      });
    });
    const started = { child, ended, ready };
    this.#running.add(started);
    return started;
  }

  /** Runs to the end. A hang is a failure that says so: `seconds` is a guard, and many times what any machine takes. */
  async run(args: readonly string[], seconds = HANG_S, options: StartOptions = {}): Promise<Ended> {
    const { child, ended } = this.start(args, options);
    const bound = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    const result = await ended;
    clearTimeout(bound);
    expect(child.signalCode, `shoal ${args.join(' ')} was to end within ${String(seconds)} s; it said: ${result.errors}`).not.toBe('SIGKILL');
    return result;
  }

  /** Runs something that has to succeed. */
  async must(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const { code, last, errors } = await this.run([...args, '--json']);
    expect(code, errors).toBe(0);
    return last;
  }

  /** Starts a server and waits for its URL. */
  async serve(args: readonly string[], listen = '127.0.0.1:0'): Promise<Server> {
    const started = this.start([...args, '--listen', listen]);
    const { url } = (await started.ready) as { readonly url: string };
    return {
      url,
      pid: started.child.pid ?? 0,
      kill: async () => {
        started.child.kill('SIGKILL');
        await started.ended;
      },
      stop: async () => {
        started.child.kill('SIGTERM');
        return started.ended;
      },
    };
  }

  async close(): Promise<void> {
    for (const { child, ended } of this.#running) {
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Server {
  readonly url: string;
  readonly pid: number;
  /** SIGKILL: no farewell. */
  kill(): Promise<void>;
  stop(): Promise<Ended>;
}
