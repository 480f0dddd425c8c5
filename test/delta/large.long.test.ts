import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { native } from '../../src/kernel/native.ts';

/** Above the size where anything proportional to it would show in 64 MiB. */
const MIB = 1024;
const CHANGE_EVERY = 64 * 1024;

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-large-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Peak resident set, MiB, of a process that evaluates `code`. */
function peak(code: string): number {
  const module = new URL('../../src/roles/delta-files.ts', import.meta.url).href;
  const heap = new URL('../../src/kernel/heap.ts', import.meta.url).href;
  // As the command does.
  const program = `(await import(${JSON.stringify(heap)})).keepHeapSmall(); const files = await import(${JSON.stringify(module)}); ${code}; console.log(process.resourceUsage().maxRSS);`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  return Number(stdout) / 1024;
}

test.skipIf(native === undefined)(
  'a delta of 1 GiB is applied in 64 MiB above a process that does nothing',
  () => {
    const old = openSync(at('old'), 'w');
    const target = openSync(at('new'), 'w');
    const block = Buffer.alloc(8 * 2 ** 20);
    for (let done = 0; done < MIB; done += 8) {
      randomFillSync(block);
      writeSync(old, block);
      for (let i = 0; i < block.length; i += CHANGE_EVERY) block.writeUInt16LE(block.readUInt16LE(i) ^ 0x5a5a, i);
      // What comes after moves, so that nothing lies where it was.
      writeSync(target, block.subarray(0, 1001));
      writeSync(target, block);
    }
    closeSync(old);
    closeSync(target);
    const paths = [at('old'), at('new'), at('delta'), at('out')].map((path) => JSON.stringify(path));
    peak(`await files.diffFiles(${paths.slice(0, 3).join(', ')})`);
    const idle = peak('');
    const applying = peak(`await files.patchFile(${[paths[0], paths[2], paths[3]].join(', ')})`);
    expect(spawnSync('cmp', [at('out'), at('new')]).status).toBe(0);
    console.log(`1 GiB: idle ${idle.toFixed(0)} MiB, applying ${applying.toFixed(0)} MiB`);
    expect(applying - idle).toBeLessThanOrEqual(64);
  },
  15 * 60_000,
);
