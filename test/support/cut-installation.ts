import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import { BaseIndexes } from '../../src/exchange/base-index.ts';
import type { DeltaSupply } from '../../src/exchange/delta-choice.ts';
import type { Ledger } from '../../src/exchange/ledger.ts';
import type { Source } from '../../src/exchange/source.ts';
import { Standing } from '../../src/exchange/standing.ts';
import { installRelease } from '../../src/roles/device/install.ts';
import { makeDirectories, readWhole, writeDurably } from '../../src/store/durable.ts';
import { CrashFiles } from './crash-files.ts';
import type { CrashPolicy } from './crash-files.ts';

const modes: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];

export interface Installation {
  /** What is in place before, and what is to be there after. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** Of one artifact. */
  readonly manifest: ReleaseManifest;
  readonly source: Source;
  readonly deltas?: DeltaSupply;
  /** Told of the run that is not cut. */
  readonly onWhole?: () => void;
  /** Looks at the unfinished file that a cut left, and returns what looks at the run after it. */
  readonly look?: (partial: Buffer, mode: CrashPolicy['mode'], isNew: boolean, where: string) => () => void;
}

const read = async (files: CrashFiles, path: string): Promise<Buffer> => Buffer.from((await readWhole(files, path, 1e9)) ?? []);

/**
 * Cuts the power at every operation of an installation, in every way to lose what was not synced, `seeds` draws each: the old
 * file or the new one is in its place, whole, and the next run ends right and durably. Returns how many cuts there were.
 */
export async function cutEverywhere({ before, after, manifest, source, deltas, onWhole, look }: Installation, seeds: number): Promise<number> {
  // The lock is a real file beside the recorded ones.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'shoal-install-crash-'));
  const output = join(folder, 'image');
  const install = async (files: CrashFiles): Promise<Ledger> => {
    const { ledger } = await installRelease({
      files, clock: systemClock, manifest, output,
      sources: () => [source],
      standing: new Standing(() => systemClock.now()),
      bases: [],
      baseIndexes: new BaseIndexes(files, join(folder, 'bases')),
      pagesPath: () => join(folder, 'pages'),
      ...(deltas === undefined ? {} : { deltas }),
    });
    return ledger;
  };
  try {
    const fresh = new CrashFiles();
    await makeDirectories(fresh, folder);
    await writeDurably(fresh, output, before);
    const start = fresh.crash(fresh.points, { mode: 'drop', seed: 0 });
    await install(start);
    onWhole?.();
    start.mark('installed');
    let cuts = 0;
    for (let point = 0; point <= start.points; point++) {
      for (const mode of modes) {
        for (let seed = point * seeds; seed < (point + 1) * seeds; seed++) {
          const where = `after ${start.describe(point)} (${String(point)}), ${mode}, seed ${String(seed)}`;
          const medium = start.crash(point, { mode, seed });
          const there = await read(medium, output);
          const isNew = there.equals(after);
          expect([isNew || there.equals(before), where]).toEqual([true, where]);
          if (start.marksBefore(point).includes('installed')) expect([isNew, where]).toEqual([true, where]);
          const lookAgain = look?.(await read(medium, join(folder, '.image.shoal-partial')), mode, isNew, where);
          const ledger = await install(medium);
          expect([after.byteLength, where]).toEqual([ledger.local + ledger.written, where]);
          lookAgain?.();
          expect([(await read(medium, output)).equals(after), where]).toEqual([true, where]);
          // And what it says is done is on the medium, should the power fail at once.
          expect([(await read(medium.crash(medium.points, { mode: 'drop', seed }), output)).equals(after), where]).toEqual([true, where]);
          cuts++;
          // Nothing here waits for the machine, and what a signal refers to is kept to the end of a turn: gigabytes.
          await nextTurn();
          // Nothing about the outcome depends on the draw here.
          if (mode === 'drop' || mode === 'keep') break;
        }
      }
    }
    console.log(`${String(cuts)} cuts at ${String(start.points)} points`);
    return cuts;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
