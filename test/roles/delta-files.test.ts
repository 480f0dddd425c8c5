import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeDelta, diffFiles, patchFile } from '../../src/roles/delta-files.ts';
import { executable, program, random, relinked } from '../../fixtures/delta/inputs.ts';
import { native } from '../../src/kernel/native.ts';
import { needsDebian } from '../support/needs.ts';
import { shoal } from '../support/shoal.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
// Some 5 MB: two spans at least (they have 1 to 4 MiB), so two segments once payloads are cut small. Most of it is the same
// few pages over and over, because the portable tier codes a megabyte of changes a second.
const pages = Buffer.concat(Array.from({ length: 40 }, () => program(9, 100_000)));
const base = Buffer.concat([program(7, 400_000), pages]);
const target = Buffer.concat([relinked(7, base.subarray(0, 400_000), 40), program(8, 100_000), pages, base.subarray(0, 150_000), relinked(3, base.subarray(0, 300_000), 9)]);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-delta-'));
  writeFileSync(at('old'), base);
  writeFileSync(at('new'), target);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('delta files', () => {
  test('rebuild the target, and say what they are', async () => {
    const made = await diffFiles(at('old'), at('new'), at('delta'), { segmentPayload: 20_000 });
    expect(made.segments).toBeGreaterThan(1);
    expect(made.bytes).toBeLessThan(target.length / 4);
    await patchFile(at('old'), at('delta'), at('out'));
    expect(readFileSync(at('out')).equals(target)).toBe(true);
    const { outline, bytes } = await describeDelta(at('delta'));
    expect(bytes).toBe(made.bytes);
    expect(outline.segments.reduce((sum, { length }) => sum + length, 0)).toBe(target.length);
  });

  test('of nothing, from nothing and between equal files', async () => {
    for (const [name, from, to] of [['empty', Buffer.alloc(0), Buffer.alloc(0)], ['fresh', Buffer.alloc(0), target.subarray(0, 300_000)], ['gone', base, Buffer.alloc(0)], ['same', base, base]] as const) {
      writeFileSync(at(`${name}-old`), from);
      writeFileSync(at(`${name}-new`), to);
      const { bytes } = await diffFiles(at(`${name}-old`), at(`${name}-new`), at(`${name}-delta`));
      await patchFile(at(`${name}-old`), at(`${name}-delta`), at(`${name}-out`));
      expect(readFileSync(at(`${name}-out`)).equals(to)).toBe(true);
      // Equal files cost an outline and one cover.
      if (name === 'same') expect(bytes).toBeLessThan(60);
    }
  });

  test('a wrong or drifted base is named, and nothing appears under the new name', async () => {
    await diffFiles(at('old'), at('new'), at('delta'), { segmentPayload: 20_000 });
    writeFileSync(at('short'), base.subarray(1));
    await expect(patchFile(at('short'), at('delta'), at('never'))).rejects.toMatchObject({ code: 'WRONG_BASE' });
    const drifted = Buffer.from(base);
    drifted[100_000] = ~(drifted[100_000] ?? 0);
    writeFileSync(at('drifted'), drifted);
    await expect(patchFile(at('drifted'), at('delta'), at('never'))).rejects.toMatchObject({ code: 'BASE_DRIFTED' });
    expect(readdirSync(folder).filter((name) => name.startsWith('never'))).toEqual([]);
  });

  test('a damaged delta never makes wrong bytes, whatever byte it is', async () => {
    // One segment of all kinds of changes: it is rebuilt more than a hundred times.
    const [from, to] = [base.subarray(0, 500_000), Buffer.concat([target.subarray(0, 600_000), base.subarray(0, 50_000)])];
    writeFileSync(at('less-old'), from);
    writeFileSync(at('less-new'), to);
    await diffFiles(at('less-old'), at('less-new'), at('delta'));
    const good = readFileSync(at('delta'));
    // Heads, every field of the manifest, and places all over map and payloads.
    const places = [...Array.from({ length: 100 }, (_, i) => 2 * i), ...Array.from({ length: 20 }, (_, i) => 200 + Math.floor(((good.length - 201) * i) / 19))];
    for (const place of places) {
      const bad = Buffer.from(good);
      bad[place] = (bad[place] ?? 0) ^ 0x41;
      writeFileSync(at('bad'), bad);
      // What predictions are known by is looked at only where the result is wrong. Wrong bytes never appear.
      const outcome = await patchFile(at('less-old'), at('bad'), at('maybe')).then(() => 'patched', (error: unknown) => (error as Error).name);
      if (outcome === 'patched') expect(readFileSync(at('maybe')).equals(to), `byte ${String(place)}`).toBe(true);
      else expect(outcome).toBe('ShoalError');
      if (place > 100) expect(outcome, `byte ${String(place)}`).toBe('ShoalError');
    }
    for (const length of [0, 3, 8, 9, 100, good.length - 1]) {
      writeFileSync(at('bad'), good.subarray(0, length));
      await expect(patchFile(at('less-old'), at('bad'), at('never'))).rejects.toMatchObject({ name: 'ShoalError' });
    }
    writeFileSync(at('bad'), Buffer.concat([good, Buffer.from([0])]));
    await expect(patchFile(at('less-old'), at('bad'), at('never'))).rejects.toMatchObject({ code: 'BAD_DELTA' });
  });

  test('a memory cap that cannot hold the files is refused, a tight one is kept to and costs bytes only', async () => {
    await expect(diffFiles(at('old'), at('new'), at('delta'), { memoryBytes: 1_000_000 })).rejects.toMatchObject({ code: 'MEMORY_CAP' });
    await diffFiles(at('old'), at('new'), at('delta'), { memoryBytes: base.length + target.length + 146 * 1024 * 1024 });
    await patchFile(at('old'), at('delta'), at('out'));
    expect(readFileSync(at('out')).equals(target)).toBe(true);
  });

  test.skipIf(native === undefined)('compared as bytes alone an executable takes more, and is rebuilt all the same', async () => {
    // Enough functions that references between them are most of what changed.
    writeFileSync(at('older'), executable('x86', 5, 400));
    writeFileSync(at('newer'), executable('x86', 5, 400, true));
    const [moved, plain] = [await diffFiles(at('older'), at('newer'), at('moved')), await diffFiles(at('older'), at('newer'), at('plain'), { plain: true })];
    expect(plain.bytes).toBeGreaterThan(moved.bytes);
    for (const delta of ['moved', 'plain']) {
      await patchFile(at('older'), at(delta), at('out'));
      expect(readFileSync(at('out')).equals(readFileSync(at('newer')))).toBe(true);
    }
  });

  test.skipIf(native === undefined)('a text whose lines were all indented anew is told from an index of phrases that occur everywhere', async () => {
    const next = random(4);
    // Few words and short lines: eight bytes occur in hundreds of places, so only where a line was expected tells which one it is.
    const words = Array.from({ length: 60 }, () => `word${String(next() % 1000)}`);
    const lines = Array.from({ length: 20_000 }, () => `${' '.repeat(2 * (next() % 4))}${Array.from({ length: 1 + (next() % 6) }, () => words[next() % words.length]).join(' ')}`);
    writeFileSync(at('wide'), lines.map((line) => `    ${line}\n`).join(''));
    writeFileSync(at('narrow'), lines.map((line) => `  ${line}\n`).join(''));
    const { bytes } = await diffFiles(at('wide'), at('narrow'), at('delta'));
    // Two bytes for each line: what was taken away and how far it is to the next.
    expect(bytes).toBeLessThan(2 * lines.length);
    await patchFile(at('wide'), at('delta'), at('out'));
    expect(readFileSync(at('out')).equals(readFileSync(at('narrow')))).toBe(true);
  });

  test('an abort leaves nothing', async () => {
    await expect(diffFiles(at('old'), at('new'), at('aborted'), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    expect(readdirSync(folder).filter((name) => name.startsWith('aborted'))).toEqual([]);
  });
});

describe('shoal diff, patch and inspect', () => {
  test('agree with one another', () => {
    expect(shoal('diff', at('old'), at('new'), at('cli.delta'), '--json')).toMatchObject({ code: 0, last: { ok: true, format: 'shoal', newBytes: target.length } });
    expect(shoal('patch', at('old'), at('cli.delta'), at('cli.out'), '--json')).toMatchObject({ code: 0, last: { ok: true, bytes: target.length } });
    expect(readFileSync(at('cli.out')).equals(target)).toBe(true);
    expect(shoal('inspect', at('cli.delta'), '--json')).toMatchObject({ code: 0, last: { ok: true, kind: 'delta' }, errors: expect.stringContaining('--base FILE') as string });
  });

  test.skipIf(native === undefined)('where a delta goes is shown by region, and adds up to the delta', () => {
    writeFileSync(at('program-1'), executable('x86', 5, 900));
    writeFileSync(at('program-2'), executable('x86', 5, 900, true));
    expect(shoal('diff', at('program-1'), at('program-2'), at('program.delta')).code).toBe(0);
    const shown = shoal('inspect', at('program.delta'), '--base', at('program-1'), '--json');
    expect(shown).toMatchObject({ code: 0, last: { kind: 'delta', spent: { twice: 0 } } });
    // Of the rows that are a whole: kinds of files, rules, and the rest.
    const rows = shown.errors.split('\n\n')[1]?.split('\n').slice(1) ?? [];
    expect(rows[0]).toContain('programs and libraries');
    const shares = rows.map((row) => Number(/([\d.]+) %/.exec(row)?.[1]));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(100, 0);
    expect(shown.errors).toMatch(/\n {2}\.text +\d+/);
    expect(shown.errors).toMatch(/\n {2}x86-64 code +\d+/);
    // A file that it was not made from, of the same size or another.
    writeFileSync(at('program-x'), readFileSync(at('program-1')).fill(7, 300, 900));
    expect(shoal('inspect', at('program.delta'), '--base', at('program-x'), '--json')).toMatchObject({ code: 1, last: { error: 'BASE_DRIFTED' } });
    expect(shoal('inspect', at('program.delta'), '--base', at('old'), '--json')).toMatchObject({ code: 1, last: { error: 'WRONG_BASE' } });
  });
});

describe.skipIf(needsDebian('bsdiff', 'bspatch'))('shoal diff --format bsdiff40', () => {
  test('makes what Debian\'s bspatch takes', () => {
    const made = shoal('diff', '--format', 'bsdiff40', at('old'), at('new'), at('patch'), '--json');
    if (!existsSync(new URL('../../node_modules/bsdiff-node', import.meta.url))) {
      // It is compiled at installation: without a compiler it is named, and nothing else is missing.
      expect(made).toMatchObject({ code: 1, last: { ok: false, error: 'BSDIFF_MISSING' } });
      return;
    }
    expect(made).toMatchObject({ code: 0, last: { ok: true, format: 'bsdiff40' } });
    expect(readFileSync(at('patch')).toString('latin1', 0, 8)).toBe('BSDIFF40');
    execFileSync('bspatch', [at('old'), at('stock'), at('patch')]);
    expect(readFileSync(at('stock')).equals(target)).toBe(true);
  });
});
