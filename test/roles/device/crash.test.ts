import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../../src/chunk/params.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { ShoalError } from '../../../src/core/errors.ts';
import type { ReleaseManifest } from '../../../src/core/manifest.ts';
import { BaseIndexes } from '../../../src/exchange/base-index.ts';
import type { Source } from '../../../src/exchange/source.ts';
import { Standing } from '../../../src/exchange/standing.ts';
import { installRelease } from '../../../src/roles/device/install.ts';
import type { Installed } from '../../../src/roles/device/install.ts';
import { makeDirectories, readWhole, writeDurably } from '../../../src/store/durable.ts';
import { sampleArtifact } from '../../support/artifacts.ts';
import type { SampleArtifact } from '../../support/artifacts.ts';
import { CrashFiles } from '../../support/crash-files.ts';
import type { CrashPolicy } from '../../support/crash-files.ts';

const modes: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
/** Draws for each point and mode: with some forty operations of an installation, over a thousand crashes. */
const SEEDS = Number(process.env["SHOAL_ROUNDS"] ?? 12);

function manifestOf(artifact: SampleArtifact): ReleaseManifest {
  const sha256 = createHash('sha256').update(artifact.bytes).digest('hex');
  const record = { name: 'image', role: 'image', root: artifact.root, size: artifact.size, sha256, chunking: DEFAULT_CHUNKING };
  return { format: 1, namespace: artifact.namespace, product: 'os', version: '2', sequence: 2, minimumSource: 0, artifacts: [record], hardware: [], requiredFeatures: [] };
}

/** An honest host that needs no time. */
function sourceOf(artifact: SampleArtifact): Source {
  const pages = new Map(artifact.pages.map((page) => [page.id, page.encoded]));
  const chunks = new Map(artifact.spansOfChunks.flat().map((chunk) => [chunk.id, chunk]));
  return {
    name: 'honest', kind: 'origin',
    page: async (_key, id) => Promise.resolve(pages.get(id) ?? Promise.reject(new ShoalError('NOT_HELD', 'no such page'))),
    holding: () => Promise.resolve(undefined),
    span: (_key, request, sink) => sink.take(request.chunks.flatMap(({ id }) => chunks.get(id) ?? []), 0),
    totals: () => ({ content: 0, control: 0 }),
    close: () => Promise.resolve(),
  };
}

// A kill leaves the page cache (test/fault/fetch-kill.test.ts): here the power fails, and nothing unsynced is promised.
it('an installation cut by a power failure leaves the old file or the new one, whole, and goes on by itself', async () => {
  // The lock is a real file beside the recorded ones.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'shoal-install-crash-'));
  const output = join(folder, 'image');
  try {
    const [before, after] = [await sampleArtifact([[1, 2, 3], [5, 7]]), await sampleArtifact([[1, 2, 3], [11, 12], [13, 14, 15], [5, 7], [16, 17]])];
    const install = (files: CrashFiles): Promise<Installed> =>
      installRelease({
        files, clock: systemClock, manifest: manifestOf(after), output,
        sources: () => [sourceOf(after)],
        standing: new Standing(() => systemClock.now()),
        bases: [],
        baseIndexes: new BaseIndexes(files, join(folder, 'bases')),
        pagesPath: () => join(folder, 'pages'),
      });
    const fresh = new CrashFiles();
    await makeDirectories(fresh, folder);
    await writeDurably(fresh, output, before.bytes);
    const start = fresh.crash(fresh.points, { mode: 'drop', seed: 0 });
    await install(start);
    start.mark('installed');
    let crashes = 0;
    for (let point = 0; point <= start.points; point++) {
      for (const mode of modes) {
        for (let seed = point * SEEDS; seed < (point + 1) * SEEDS; seed++) {
          const where = `after ${start.describe(point)} (${String(point)}), ${mode}, seed ${String(seed)}`;
          const medium = start.crash(point, { mode, seed });
          const there = Buffer.from((await readWhole(medium, output, 1e9)) ?? []);
          const isNew = there.equals(after.bytes);
          expect([isNew || there.equals(before.bytes), where]).toEqual([true, where]);
          if (start.marksBefore(point).includes('installed')) expect([isNew, where]).toEqual([true, where]);
          const { ledger } = await install(medium);
          expect([after.size, where]).toEqual([ledger.local + ledger.written, where]);
          expect([Buffer.from((await readWhole(medium, output, 1e9)) ?? []).equals(after.bytes), where]).toEqual([true, where]);
          // And what it says is done is on the medium, should the power fail at once.
          const again = medium.crash(medium.points, { mode: 'drop', seed });
          expect([Buffer.from((await readWhole(again, output, 1e9)) ?? []).equals(after.bytes), where]).toEqual([true, where]);
          crashes++;
          // Nothing here waits for the machine, and what a signal refers to is kept to the end of a turn: gigabytes.
          await nextTurn();
          // Nothing about the outcome depends on the draw here.
          if (mode === 'drop' || mode === 'keep') break;
        }
      }
    }
    console.log(`${String(crashes)} crashes at ${String(start.points)} points`);
    expect(crashes).toBeGreaterThan(1000);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 300_000);
