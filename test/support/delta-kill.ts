import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { rebuilt, spansOf } from './delta-pair.ts';
import { killFetches } from './killed-fetches.ts';
import { Processes } from './processes.ts';
import { randomBytes } from './random.ts';

const MiB = 1024 * 1024;

/**
 * Kills a fetch by a delta at `rounds` places and lets it go on: nothing that was written is written again, and no segment is
 * fetched but those that were not whole. Returns how many kills hit.
 */
export async function killDeltaFetches(rounds: number): Promise<number> {
  const processes = new Processes();
  const { folder } = processes;
  const home = join(folder, 'home');
  try {
    // Changes everywhere: chunks alone would save nothing. Four segments and more, of 8 MiB at most.
    const before = randomBytes(24 * MiB);
    const after = rebuilt(before, 5_000);
    await processes.must('init', '--home', home);
    for (const [version, content] of [['1', before], ['2', after]] as const) {
      await writeFile(join(folder, 'image'), content);
      await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', version, '--home', home, '--level', '1');
    }
    const { ends } = await spansOf(join(folder, 'image'));
    const base = join(folder, 'base');
    await writeFile(base, before);
    const origin = await processes.serve(['origin', '--home', home]);
    const { hits, whole } = await killFetches(processes, {
      args: (name) => ['fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `${name}-state`), '-o', join(folder, name), '--base', base, '--json'],
      content: after,
      ends,
      judge: (ledger, right, told, alone) => {
        expect(alone.origin).toBeLessThan(MiB);
        expect([ledger.local >= right, ledger.local + ledger.written, told]).toEqual([true, after.byteLength, told]);
        expect([ledger.delta <= alone.delta + 2_000 && ledger.origin < MiB, ledger, told]).toEqual([true, ledger, told]);
      },
    }, rounds);
    expect(whole.errors).toContain('delta');
    return hits;
  } finally {
    await processes.close();
  }
}
