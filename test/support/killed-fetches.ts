import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Ledger } from '../../src/exchange/ledger.ts';
import type { Ended, Processes } from './processes.ts';
import { randomFrom } from './random.ts';

/** Imported by a process, lets it die at one of its own operations on files, or counts them (`die-at.ts`). */
export const DIE_AT = new URL('./die-at.ts', import.meta.url).href;

/** Draws one kill in each of so many equal parts of a run, so that no part is left out. SHOAL_SEED repeats another run. */
export class KillPoints {
  readonly #seed = Number(process.env['SHOAL_SEED'] ?? 1);
  readonly #random = randomFrom(this.#seed);
  readonly #rounds: number;
  readonly #counted: string;
  #operations: number;
  #again = false;

  /** `counted` is where a run that ends by itself writes how many operations it had. */
  constructor(counted: string, rounds: number) {
    this.#counted = counted;
    this.#operations = Number(readFileSync(counted, 'utf8'));
    this.#rounds = rounds;
    console.log(`SHOAL_SEED=${String(this.#seed)}`);
  }

  /** Of the last run that ended by itself. */
  get operations(): number {
    return this.#operations;
  }

  /** It ended before it was killed. Batches are written as they come: another one may take fewer operations. Draws anew. */
  missed(): void {
    this.#operations = Number(readFileSync(this.#counted, 'utf8'));
    this.#again = true;
  }

  *[Symbol.iterator](): Generator<{ readonly env: Readonly<Record<string, string>>; readonly told: string }> {
    for (let round = 0; round < this.#rounds; round++) {
      this.#again = false;
      const point = 1 + Math.floor(((round + this.#random()) / this.#rounds) * (this.#operations - 1));
      yield { env: { SHOAL_TEST_DIE_AT: String(point), SHOAL_TEST_OPERATIONS: this.#counted }, told: `SHOAL_SEED=${String(this.#seed)}, killed at operation ${String(point)} of ${String(this.#operations)}` };
      if (this.#again) round--;
    }
  }
}

export interface FetchToKill {
  /** Of a fetch to `name` in the folder of the processes. */
  readonly args: (name: string) => readonly string[];
  readonly content: Buffer;
  /** Where the pieces end of which a fetch finds again those that are whole. */
  readonly ends: readonly number[];
  /** Judges the run after a kill. `right`: bytes of whole pieces that were there before it; `alone`: what a run without a kill said. */
  readonly judge: (ledger: Ledger, right: number, told: string, alone: Ledger) => void;
}

/**
 * Kills a fetch at `rounds` of its writes, syncs and renames, and lets it go on: the output is the old file or the new one at
 * any time, and in the end the new one. Returns how many kills hit, and how many operations a run has.
 */
export async function killFetches(processes: Processes, { args, content, ends, judge }: FetchToKill, rounds: number): Promise<{ readonly hits: number; readonly operations: number; readonly whole: Ended }> {
  const { folder } = processes;
  const rightBytes = (partial: Buffer): number => ends.reduce((sum, end, at) => {
    const begin = ends[at - 1] ?? 0;
    return sum + (partial.subarray(begin, end).equals(content.subarray(begin, end)) ? end - begin : 0);
  }, 0);
  const counted = join(folder, 'operations');
  const whole = await processes.run(args('counted'), undefined, { imports: [DIE_AT], env: { SHOAL_TEST_OPERATIONS: counted } });
  expect([whole.code, whole.errors]).toEqual([0, expect.any(String)]);
  const points = new KillPoints(counted, rounds);
  let hits = 0;
  let serial = 0;
  for (const { env, told } of points) {
    const name = `round-${String(serial++)}`;
    const output = join(folder, name);
    await writeFile(output, 'the version before');
    const killed = processes.start(args(name), { imports: [DIE_AT], env });
    const { code } = await killed.ended;
    if (code === 0) {
      points.missed();
      continue;
    }
    hits++;
    expect([killed.child.signalCode, told]).toEqual(['SIGKILL', told]);
    const there = await readFile(output);
    const placed = there.equals(content);
    if (!placed) expect([there.toString('utf8').slice(0, 40), told]).toEqual(['the version before', told]);
    const partial = join(folder, `.${name}.shoal-partial`);
    const right = existsSync(partial) ? rightBytes(await readFile(partial)) : 0;
    const again = await processes.run(args(name));
    expect([again.code, again.errors, told]).toEqual([0, expect.any(String), told]);
    expect([(await readFile(output)).equals(content), told]).toEqual([true, told]);
    if (!placed) judge(again.last['ledger'] as Ledger, right, told, whole.last['ledger'] as Ledger);
    // Hundreds of rounds are not to fill the disk.
    for (const path of [output, partial]) if (existsSync(path)) await writeFile(path, '');
  }
  return { hits, operations: points.operations, whole };
}
