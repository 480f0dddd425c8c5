import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { randomFrom } from './crash-files.ts';
import { rebuilt, spansOf } from './delta-pair.ts';
import { Processes } from './processes.ts';

const MiB = 1024 * 1024;
const DIE_AT = new URL('./die-at.ts', import.meta.url).href;

/**
 * Kills a fetch by a delta at `rounds` places, one in each part of it, and lets it go on: the right file, nothing that was
 * written is written again, and no segment is fetched but those that were not whole. Returns how many kills hit.
 */
export async function killDeltaFetches(rounds: number): Promise<number> {
  const seed = Number(process.env['SHOAL_SEED'] ?? Date.now() % 1e6);
  console.log(`SHOAL_SEED=${String(seed)}`);
  const random = randomFrom(seed);
  const processes = new Processes();
  const { folder } = processes;
  const home = join(folder, 'home');
  try {
    // Changes everywhere: chunks alone would save nothing. Four segments and more, of 8 MiB at most.
    const before = randomBytes(24 * MiB);
    const after = rebuilt(before, 5_000);
    const digest = createHash('sha256').update(after).digest('hex');
    await processes.must('init', '--home', home);
    for (const [version, content] of [['1', before], ['2', after]] as const) {
      await writeFile(join(folder, 'image'), content);
      await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', version, '--home', home, '--level', '1');
    }
    const { ends } = await spansOf(join(folder, 'image'));
    const base = join(folder, 'base');
    await writeFile(base, before);
    const origin = await processes.serve(['origin', '--home', home]);
    const fetchArgs = (name: string): string[] =>
      ['fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `${name}-state`), '-o', join(folder, name), '--base', base, '--json'];
    /** Bytes of whole spans that are right in an unfinished file. */
    const rightBytes = (partial: Buffer): number => ends.reduce((sum, end, at) => {
      const begin = ends[at - 1] ?? 0;
      return sum + (partial.subarray(begin, end).equals(after.subarray(begin, end)) ? end - begin : 0);
    }, 0);
    const counted = join(folder, 'operations');
    const whole = await processes.run(fetchArgs('counted'), 60, { imports: [DIE_AT], env: { SHOAL_TEST_OPERATIONS: counted } });
    expect(whole.errors).toContain('delta');
    expect(whole.code).toBe(0);
    const alone = whole.last['ledger'] as { readonly delta: number; readonly origin: number };
    expect(alone.origin).toBeLessThan(MiB);
    const operations = Number(readFileSync(counted, 'utf8'));
    let hits = 0;
    for (let round = 0; round < rounds; round++) {
      const point = 1 + Math.floor(((round + random()) / rounds) * operations);
      const name = `round-${String(round)}`;
      const output = join(folder, name);
      const told = `SHOAL_SEED=${String(seed)}, killed at operation ${String(point)} of ${String(operations)}`;
      await writeFile(output, 'the version before');
      const killed = processes.start(fetchArgs(name), { imports: [DIE_AT], env: { SHOAL_TEST_DIE_AT: String(point) } });
      const { code } = await killed.ended;
      // Pieces are written as they come: a run may take a few operations less than the one that was counted.
      if (code === 0) continue;
      hits++;
      expect([killed.child.signalCode, told]).toEqual(['SIGKILL', told]);
      const there = await readFile(output);
      const placed = there.equals(after);
      if (!placed) expect([there.toString('utf8').slice(0, 40), told]).toEqual(['the version before', told]);
      const partial = join(folder, `.${name}.shoal-partial`);
      const right = existsSync(partial) ? rightBytes(await readFile(partial)) : 0;
      const again = await processes.run(fetchArgs(name), 60);
      expect([again.code, again.errors, told]).toEqual([0, expect.any(String), told]);
      expect(createHash('sha256').update(await readFile(output)).digest('hex'), told).toBe(digest);
      if (placed) continue;
      const ledger = again.last['ledger'] as { readonly local: number; readonly delta: number; readonly origin: number; readonly written: number };
      expect([ledger.local >= right, ledger.local + ledger.written, told]).toEqual([true, after.byteLength, told]);
      expect([ledger.delta <= alone.delta + 2_000 && ledger.origin < MiB, ledger, told]).toEqual([true, ledger, told]);
      for (const path of [output, partial]) if (existsSync(path)) await writeFile(path, '');
    }
    return hits;
  } finally {
    await processes.close();
  }
}
