import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { walkChunks } from '../../src/chunk/walk.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { killFetches } from '../support/killed-fetches.ts';
import { Processes } from '../support/processes.ts';
import type { Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
const content = Buffer.concat([randomBytes(5 * MiB), Buffer.alloc(MiB, 'text that repeats '), randomBytes(2 * MiB)]);
/** Kills of a fetch of some hundred operations; each round is two processes. SHOAL_ROUNDS asks for more. */
const ROUNDS = Number(process.env['SHOAL_ROUNDS'] ?? 8);

const processes = new Processes();
const { folder } = processes;
const home = join(folder, 'home');
let origin: Server;

beforeAll(async () => {
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), content);
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1');
  origin = await processes.serve(['origin', '--home', home]);
});
afterAll(() => processes.close());

it('a fetch killed at any write, sync or rename ends right the next time, and fetches only what is missing', async () => {
  const ends: number[] = [];
  for await (const { offset, length } of walkChunks(memoryBase(content), DEFAULT_CHUNKING)) ends.push(offset + length);
  const { operations } = await killFetches(processes, {
    args: (name) => ['fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `${name}-state`), '-o', join(folder, name), '--json'],
    content,
    ends,
    judge: (ledger, right, told) => {
      expect([ledger.local, ledger.local + ledger.written, told]).toEqual([right, content.byteLength, told]);
      // Index pages and heads come on top.
      expect(ledger.origin, told).toBeLessThan(content.byteLength - right + 100_000);
    },
  }, ROUNDS);
  // Trust files, at least one write for each of the spans, syncs and a rename.
  expect(operations).toBeGreaterThan(30);
}, 900_000);
