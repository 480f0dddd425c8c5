import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const SHOAL = fileURLToPath(new URL('../bin/shoal.mjs', import.meta.url));

export type Json = Readonly<Record<string, unknown>>;

/** A role that runs until it is stopped, and tells what it does in JSON lines. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  /** The next line it prints. Throws when it ended instead. */
  next(): Promise<Json>;
  /** Halts it, or lets it go on. */
  halt(on: boolean): void;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** Ends it gracefully; returns the last line it printed. */
  stop(): Promise<Json>;
}

/** Where a role runs and listens. */
export interface Place {
  /** What its command line begins with, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  readonly listen: string;
}

/** Fetches a URL with the PEM files of an operator's identity. */
const AS_OPERATOR = `const [, url, directory] = process.argv;
const read = (name) => require('node:fs').readFileSync(directory + '/' + name);
require('node:https').get(url, { ca: read('ca.pem'), cert: read('operator.pem'), key: read('operator.key.pem') }, (answer) => answer.pipe(process.stdout));`;

/** The processes of a demo or a benchmark: none of them outlives it. */
export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #program: string;

  /** `program` is what Node runs. Default: the launcher, and so the source of this checkout. */
  constructor(program: string = SHOAL) {
    this.#program = program;
  }

  /** Runs a command to its end and returns the JSON object it printed last. */
  run(...args: readonly string[]): Promise<Json> {
    return this.runIn([], ...args);
  }

  /** The same behind a prefix, see `Place`. */
  async runIn(prefix: readonly string[], ...args: readonly string[]): Promise<Json> {
    const child = this.#spawn(prefix, [...args, '--json']);
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

  /** What `url` answers, asked from behind a prefix: another network may be the only one that reaches it. */
  async fetchIn(prefix: readonly string[], url: string, operator?: string): Promise<string> {
    const program = operator === undefined ? 'fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))' : AS_OPERATOR;
    const [command = process.execPath, ...rest] = [...prefix, process.execPath, '-e', program, url, operator ?? ''];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${url} does not answer`);
    return text;
  }

  /** Starts a role on a free port and waits until it says where it is. */
  serve(...args: readonly string[]): Promise<Server> {
    return this.serveAt({ listen: '127.0.0.1:0' }, ...args);
  }

  /** Starts a role somewhere else. */
  async serveAt({ prefix = [], listen }: Place, ...args: readonly string[]): Promise<Server> {
    const child = this.#spawn(prefix, [...args, '--listen', listen]);
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
      pid: child.pid ?? 0,
      next,
      halt: (on) => void child.kill(on ? 'SIGSTOP' : 'SIGCONT'),
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
        this.#running.delete(child);
      },
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

  #spawn(prefix: readonly string[], args: readonly string[]): ChildProcess & { readonly stdout: Readable; readonly stderr: Readable } {
    const [command = process.execPath, ...rest] = [...prefix, process.execPath, this.#program, ...args];
    return spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Ends whatever still runs, at once. */
  kill(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }
}
