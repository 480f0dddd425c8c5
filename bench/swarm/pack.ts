import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Json, Server } from '../../demo/processes.ts';

export interface PackedAgent {
  readonly device: number;
  readonly output: string;
  readonly trust: string;
  readonly address: string;
  readonly port: number;
  readonly poll: number;
  readonly origin: string;
  readonly state: string;
  readonly identity?: string;
}

/** What one agent of a process has said and nobody has read. */
interface Line {
  readonly said: Json[];
  wake: () => void;
}

/** A process with several agents, each of which looks like a server of its own, but for that they halt and end together. */
export class Pack {
  readonly #agents: readonly PackedAgent[];
  readonly #prefix: readonly string[];
  readonly #lines = new Map<number, Line>();
  #child: ChildProcess | undefined;
  #ended = false;

  constructor(agents: readonly PackedAgent[], prefix: readonly string[]) {
    this.#agents = agents;
    this.#prefix = prefix;
    for (const { device } of agents) this.#lines.set(device, { said: [], wake: () => undefined });
  }

  async server(device: number): Promise<Server> {
    const child = (this.#child ??= this.#start());
    const next = (): Promise<Json> => this.#next(device);
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'close');
      child.kill(signal);
      await gone;
    };
    return {
      url: String((await next())['url']),
      pid: child.pid ?? 0,
      next,
      halt: (on) => void child.kill(on ? 'SIGSTOP' : 'SIGCONT'),
      kill: () => end('SIGKILL'),
      stop: async () => {
        await end('SIGTERM');
        return {};
      },
    };
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  #start(): ChildProcess {
    const [command = '', ...args] = [...this.#prefix, process.execPath, new URL('agents.mjs', import.meta.url).pathname, JSON.stringify(this.#agents)];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout }).on('line', (text) => {
      const said = JSON.parse(text) as Json;
      const line = this.#lines.get(Number(said['device']));
      line?.said.push(said);
      line?.wake();
    });
    child.once('close', () => {
      this.#ended = true;
      for (const line of this.#lines.values()) line.wake();
    });
    return child;
  }

  async #next(device: number): Promise<Json> {
    const line = this.#lines.get(device);
    for (;;) {
      const said = line?.said.shift();
      if (said !== undefined) return said;
      if (line === undefined || this.#ended) throw new Error('the process of the agents has ended');
      await new Promise<void>((resolve) => (line.wake = resolve));
    }
  }
}
