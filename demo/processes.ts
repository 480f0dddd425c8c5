import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SHOAL = fileURLToPath(new URL('../bin/shoal.mjs', import.meta.url));

export type Json = Readonly<Record<string, unknown>>;

/** A role that runs until it is stopped, and tells what it does in JSON lines. */
export interface Server {
  readonly url: string;
  /** The next line it prints. Throws when it ended instead. */
  next(): Promise<Json>;
  /** Ends it gracefully; returns the last line it printed. */
  stop(): Promise<Json>;
}

/** The processes of a demo: none of them outlives it. */
export class Processes {
  readonly #running = new Set<ChildProcess>();

  /** Runs a command to its end and returns the JSON object it printed last. */
  async run(...args: readonly string[]): Promise<Json> {
    const child = spawn(process.execPath, [SHOAL, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#running.add(child);
    let out = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    this.#running.delete(child);
    if (code !== 0) throw new Error(`shoal ${args.join(' ')} failed: ${errors.trim()}`);
    return JSON.parse(out.trim().split('\n').at(-1) ?? '') as Json;
  }

  /** Starts a role on a free port and waits until it says where it is. */
  async serve(...args: readonly string[]): Promise<Server> {
    const child = spawn(process.execPath, [SHOAL, ...args, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#running.add(child);
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const ended = new Promise<void>((resolve) => child.once('close', () => { resolve(); }));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<Json> => {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`shoal ${args.join(' ')} ended: ${errors.trim()}`);
      return JSON.parse(value) as Json;
    };
    return {
      url: String((await next())['url']),
      next,
      stop: async () => {
        child.kill('SIGTERM');
        let last: Json = {};
        for (let line = await lines.next(); line.done !== true; line = await lines.next()) last = JSON.parse(line.value) as Json;
        await ended;
        this.#running.delete(child);
        return last;
      },
    };
  }

  /** Ends whatever still runs, at once. */
  kill(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }
}
