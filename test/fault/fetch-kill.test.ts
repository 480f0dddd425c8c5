import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { walkChunks } from '../../src/chunk/walk.ts';
import { randomFrom } from '../support/crash-files.ts';
import { Processes } from '../support/processes.ts';
import type { Server } from '../support/processes.ts';

const MiB = 1024 * 1024;
const content = Buffer.concat([randomBytes(5 * MiB), Buffer.alloc(MiB, 'text that repeats '), randomBytes(2 * MiB)]);
const digest = createHash('sha256').update(content).digest('hex');
/** Kills of a fetch of some hundred operations; each round is two processes. SHOAL_ROUNDS asks for more. */
const ROUNDS = Number(process.env['SHOAL_ROUNDS'] ?? 12);
const DIE_AT = new URL('../support/die-at.ts', import.meta.url).href;

const processes = new Processes();
const { folder } = processes;
const home = join(folder, 'home');
let origin: Server;
let chunks: readonly { readonly offset: number; readonly length: number }[];

beforeAll(async () => {
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), content);
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1');
  origin = await processes.serve(['origin', '--home', home]);
  const file = await open(join(folder, 'image'));
  const cut: { offset: number; length: number }[] = [];
  for await (const { offset, length } of walkChunks(file, DEFAULT_CHUNKING)) cut.push({ offset, length });
  await file.close();
  chunks = cut;
}, 60_000);
afterAll(() => processes.close());

const fetchArgs = (name: string): string[] =>
  ['fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `${name}-state`), '-o', join(folder, name), '--json'];

/** Bytes of whole chunks that are already right in an unfinished file. */
function rightBytes(partial: Buffer): number {
  return chunks.reduce((sum, { offset, length }) => sum + (partial.subarray(offset, offset + length).equals(content.subarray(offset, offset + length)) ? length : 0), 0);
}

it('a fetch killed at any write, sync or rename ends right the next time, and fetches only what is missing', async () => {
  const seed = Number(process.env['SHOAL_SEED'] ?? Date.now() % 1e6);
  console.log(`SHOAL_SEED=${String(seed)}`);
  const random = randomFrom(seed);
  const counted = join(folder, 'operations');
  const whole = await processes.run(fetchArgs('counted'), 30, { imports: [DIE_AT], env: { SHOAL_TEST_OPERATIONS: counted } });
  expect(whole.code).toBe(0);
  const operations = Number(readFileSync(counted, 'utf8'));
  // Trust files, at least one write for each of the spans, syncs and a rename.
  expect(operations).toBeGreaterThan(30);
  for (let round = 0; round < ROUNDS; round++) {
    // One round in each part of the run, so that no part is left out.
    const point = 1 + Math.floor(((round + random()) / ROUNDS) * operations);
    const name = `round-${String(round)}`;
    const output = join(folder, name);
    const told = `SHOAL_SEED=${String(seed)}, killed at operation ${String(point)} of ${String(operations)}`;
    await writeFile(output, 'the version before');
    const killed = processes.start(fetchArgs(name), { imports: [DIE_AT], env: { SHOAL_TEST_DIE_AT: String(point) } });
    const { code } = await killed.ended;
    // Batches are written as they come: a run may take a few operations less than the one that was counted.
    if (code === 0) continue;
    expect([killed.child.signalCode, told]).toEqual(['SIGKILL', told]);
    const there = await readFile(output);
    const placed = there.equals(content);
    if (!placed) expect([there.toString('utf8').slice(0, 40), told]).toEqual(['the version before', told]);
    const partial = join(folder, `.${name}.shoal-partial`);
    const right = existsSync(partial) ? rightBytes(await readFile(partial)) : 0;
    const again = await processes.run(fetchArgs(name), 30);
    expect([again.code, again.errors, told]).toEqual([0, expect.any(String), told]);
    expect(createHash('sha256').update(await readFile(output)).digest('hex'), told).toBe(digest);
    if (placed) continue;
    const ledger = again.last['ledger'] as { readonly local: number; readonly origin: number; readonly written: number };
    expect([ledger.local, ledger.local + ledger.written, told]).toEqual([right, content.byteLength, told]);
    // Index pages and heads come on top.
    expect(ledger.origin, told).toBeLessThan(content.byteLength - right + 100_000);
  }
}, 300_000);
