import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SHOAL = fileURLToPath(new URL('../../bin/shoal.mjs', import.meta.url));
const CHILD = fileURLToPath(new URL('./program-child.ts', import.meta.url));

export interface Ran {
  readonly code: number | null;
  /** The last line of standard output when it is JSON. */
  readonly last: Readonly<Record<string, unknown>>;
  readonly output: string;
  readonly errors: string;
}

/** The process that runs commands one after another: most of what one costs is to load the program. */
class Operator {
  readonly #questions: number;
  readonly #answers: number;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-operator-'));
    const pipes = [join(folder, 'questions'), join(folder, 'answers')] as const;
    execFileSync('mkfifo', pipes);
    const child = spawn(process.execPath, [CHILD, ...pipes], { stdio: ['ignore', 'ignore', 'inherit'] });
    // Each waits for the other side, in the order in which that opens them.
    this.#questions = openSync(pipes[0], 'w');
    this.#answers = openSync(pipes[1], 'r');
    rmSync(folder, { recursive: true });
    child.unref();
    process.once('exit', () => child.kill('SIGKILL'));
  }

  run(args: readonly string[]): { readonly code: number; readonly output: string; readonly errors: string } {
    writeSync(this.#questions, `${JSON.stringify(args)}\n`);
    const parts: Buffer[] = [];
    for (;;) {
      const part = Buffer.alloc(65_536);
      const length = readSync(this.#answers, part);
      if (length === 0) throw new Error(`shoal ${args.join(' ')} ended the process that was to run it`);
      parts.push(part.subarray(0, length));
      if (part[length - 1] === 10) return JSON.parse(Buffer.concat(parts).toString()) as { readonly code: number; readonly output: string; readonly errors: string };
    }
  }
}

let operator: Operator | undefined;

/** Runs a command to its end, in a process that runs them all one after another. */
export function shoal(...args: readonly string[]): Ran {
  const { code, output, errors } = (operator ??= new Operator()).run(args);
  return ranOf(code, output, errors);
}

/** Runs a real command to its end, as a process of its own. */
export function shoalAlone(...args: readonly string[]): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SHOAL, ...args], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return ranOf(status, stdout, stderr);
}

function ranOf(code: number | null, output: string, errors: string): Ran {
  const line = output.trim().split('\n').at(-1) ?? '';
  return { code, last: line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {}, output, errors };
}

/** The same beside other work of the test. */
export function shoalBeside(...args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [SHOAL, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  return new Promise((resolve) => child.once('close', (code) => { resolve(ranOf(code, output, errors)); }));
}

export interface Server {
  readonly url: string;
  /** The process itself, for tests that kill it. */
  readonly pid: number;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Starts a role as a process of its own on a free port (or `port`) and waits until it is ready. */
export function serve(args: readonly string[], port = 0): Promise<Server> {
  const child = spawn(process.execPath, [SHOAL, ...args, '--listen', `127.0.0.1:${String(port)}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => { resolve(); }));
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  return new Promise((resolve, reject) => {
    let out = '';
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.includes('\n')) resolve({ url: (JSON.parse(out.split('\n')[0] ?? '') as { readonly url: string }).url, pid: child.pid ?? 0, kill });
    });
    child.once('close', (code) => { reject(new Error(`${args.join(' ')} ended with ${String(code)}: ${errors}`)); });
  });
}
