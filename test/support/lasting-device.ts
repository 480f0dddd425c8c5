import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { HANG_S, lastJson } from './processes.ts';
import type { Ended } from './processes.ts';

const CHILD = fileURLToPath(new URL('./program-child.ts', import.meta.url));

/** A device with 256 MB has to live through all of it, bytes. */
export const MOST_MEMORY = 256_000_000;

/** One process that fetches again and again, one after another: whatever it meets on the way, it lives and its memory is bounded. */
export class LastingDevice {
  readonly #child = spawn(process.execPath, [CHILD], { stdio: ['pipe', 'pipe', 'inherit'] });
  readonly #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();

  /** Runs `shoal fetch …` to its end. `seconds` is a guard against hanging. */
  async run(args: readonly string[], seconds = HANG_S): Promise<Ended> {
    const began = performance.now();
    const bound = setTimeout(() => this.#child.kill('SIGKILL'), seconds * 1000);
    this.#child.stdin.write(`${JSON.stringify(args)}\n`);
    const { value, done } = await this.#lines.next();
    clearTimeout(bound);
    expect(done, `shoal ${args.join(' ')} was to end within ${String(seconds)} s, and with an answer`).not.toBe(true);
    const { code, errors, output, peak } = JSON.parse(value as string) as { readonly code: number; readonly errors: string; readonly output: string; readonly peak: number };
    return { code, errors, last: lastJson(output), seconds: (performance.now() - began) / 1000, peak };
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
