import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../../src/chunk/params.ts';
import { groupSpans } from '../../../src/chunk/spans.ts';
import { walkChunks } from '../../../src/chunk/walk.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { ShoalError } from '../../../src/core/errors.ts';
import type { ObjectId } from '../../../src/core/ids.ts';
import type { ReleaseManifest } from '../../../src/core/manifest.ts';
import { makeDelta } from '../../../src/delta/make.ts';
import { memoryBase } from '../../../src/delta/predict.ts';
import { BaseIndexes } from '../../../src/exchange/base-index.ts';
import type { DeltaSupply } from '../../../src/exchange/delta-choice.ts';
import type { Source } from '../../../src/exchange/source.ts';
import { Standing } from '../../../src/exchange/standing.ts';
import { IndexBuilder } from '../../../src/merkle/build.ts';
import { sealChunk } from '../../../src/merkle/verify.ts';
import type { VerifiedChunk, VerifiedPage } from '../../../src/merkle/verify.ts';
import { installRelease } from '../../../src/roles/device/install.ts';
import type { Installed } from '../../../src/roles/device/install.ts';
import { makeDirectories, readWhole, writeDurably } from '../../../src/store/durable.ts';
import { sampleBytes } from '../../support/artifact.ts';
import { CrashFiles } from '../../support/crash-files.ts';
import type { CrashPolicy } from '../../support/crash-files.ts';
import { rebuilt } from '../../support/delta-pair.ts';

const MiB = 1024 * 1024;
const modes: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
/** Draws for each point and mode: with some thirty operations of an installation, more than a hundred crashes. */
const SEEDS = Number(process.env['SHOAL_ROUNDS'] ?? 1);

interface Indexed {
  readonly root: ObjectId;
  readonly ends: readonly number[];
  readonly pages: ReadonlyMap<ObjectId, VerifiedPage>;
  readonly chunks: ReadonlyMap<ObjectId, VerifiedChunk>;
}

async function indexed(bytes: Uint8Array): Promise<Indexed> {
  const pages = new Map<ObjectId, VerifiedPage>();
  const chunks = new Map<ObjectId, VerifiedChunk>();
  const list: { id: ObjectId; length: number }[] = [];
  for await (const { id, length, offset } of walkChunks(memoryBase(bytes), DEFAULT_CHUNKING)) {
    list.push({ id, length });
    chunks.set(id, sealChunk(bytes.subarray(offset, offset + length)));
  }
  const builder = new IndexBuilder((page) => void pages.set(page.id, page));
  const ends: number[] = [];
  for (const span of groupSpans(list)) ends.push((ends.at(-1) ?? 0) + (await builder.addSpan(span)).page.bytes);
  return { root: (await builder.finish()).root, ends, pages, chunks };
}

it('an installation by a delta that is cut by a power failure goes on with the segments that are not there yet', async () => {
  // The lock is a real file beside the recorded ones.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'shoal-delta-crash-'));
  const output = join(folder, 'image');
  try {
    const before = sampleBytes(7 * MiB, 5, false);
    const after = rebuilt(before, 30_000);
    const [from, to] = [await indexed(before), await indexed(after)];
    // Some hundred bytes of payload for each segment: a few segments of several spans.
    const delta = await makeDelta({ root: from.root, bytes: before }, { root: to.root, bytes: after }, to.ends, { segmentPayload: 30 });
    const { segments } = delta.manifest;
    expect(segments.length).toBeGreaterThanOrEqual(3);
    const manifest: ReleaseManifest = {
      format: 1, namespace: 'default', product: 'os', version: '2', sequence: 2, minimumSource: 0, hardware: [], requiredFeatures: [],
      artifacts: [{ name: 'image', role: 'image', root: to.root, size: after.byteLength, sha256: createHash('sha256').update(after).digest('hex'), chunking: DEFAULT_CHUNKING }],
    };
    const deltas: DeltaSupply = {
      offers: () => Promise.resolve([{ base: from.root, baseSize: before.byteLength, bytes: delta.bytes, manifestLength: delta.manifestBytes.byteLength }]),
      manifest: () => Promise.resolve({ bytes: delta.manifestBytes, from: 'origin' }),
      recorded: () => undefined,
      dropped: () => false,
      drop: (_target, _base, reason) => Promise.reject(new Error(`it was dropped: ${reason}`)),
    };
    const asked: ObjectId[] = [];
    /** An honest host that needs no time. */
    const source: Source = {
      name: 'honest', kind: 'origin',
      page: (_key, id) => Promise.resolve(to.pages.get(id)?.encoded ?? Promise.reject(new ShoalError('NOT_HELD', 'no such page'))),
      holding: () => Promise.resolve(undefined),
      span: (_key, request, sink) => sink.take(request.chunks.flatMap(({ id }) => to.chunks.get(id) ?? []), 0),
      delta: (_key, { id }) => {
        asked.push(id);
        return Promise.resolve(delta.objects.get(id) ?? Promise.reject(new ShoalError('NOT_HELD', 'no such object')));
      },
      totals: () => ({ content: 0, control: 0, delta: 0 }),
      close: () => Promise.resolve(),
    };
    const install = (files: CrashFiles): Promise<Installed> =>
      installRelease({
        files, clock: systemClock, manifest, output, deltas,
        sources: () => [source],
        standing: new Standing(() => systemClock.now()),
        bases: [],
        baseIndexes: new BaseIndexes(files, join(folder, 'bases')),
        pagesPath: () => join(folder, 'pages'),
      });
    const fresh = new CrashFiles();
    await makeDirectories(fresh, folder);
    await writeDurably(fresh, output, before);
    const start = fresh.crash(fresh.points, { mode: 'drop', seed: 0 });
    await install(start);
    expect(new Set(asked).size).toBe(delta.objects.size);
    start.mark('installed');
    const read = async (files: CrashFiles, path: string): Promise<Buffer> => Buffer.from((await readWhole(files, path, 1e9)) ?? []);
    let crashes = 0;
    let partly = 0;
    for (let point = 0; point <= start.points; point++) {
      for (const mode of modes) {
        for (let seed = point * SEEDS; seed < (point + 1) * SEEDS; seed++) {
          const where = `after ${start.describe(point)} (${String(point)}), ${mode}, seed ${String(seed)}`;
          const medium = start.crash(point, { mode, seed });
          const there = await read(medium, output);
          const isNew = there.equals(after);
          expect([isNew || there.equals(Buffer.from(before)), where]).toEqual([true, where]);
          if (start.marksBefore(point).includes('installed')) expect([isNew, where]).toEqual([true, where]);
          const partial = await read(medium, join(folder, '.image.shoal-partial'));
          const same = (begin: number, end: number): boolean => partial.subarray(begin, end).equals(after.subarray(begin, end));
          let at = 0;
          const done = segments.map(({ length }) => same(at, (at += length)));
          if (mode === 'keep' && !isNew) {
            // What was written is there: of at most one segment only a part.
            at = 0;
            const begun = segments.filter(({ length }, number) => {
              const [begin, end] = [at, (at += length)];
              return done[number] === false && partial.subarray(begin, end).some((byte) => byte !== 0);
            });
            expect([begun.length <= 1, where]).toEqual([true, where]);
            partly += begun.length;
          }
          asked.length = 0;
          const { ledger } = await install(medium);
          expect([after.byteLength, where]).toEqual([ledger.local + ledger.written, where]);
          // No segment that is whole on the medium is asked for, nor written, again.
          const again = segments.filter(({ payload }, number) => done[number] === true && payload !== undefined && asked.includes(payload.id));
          expect([again, where]).toEqual([[], where]);
          expect([(await read(medium, output)).equals(after), where]).toEqual([true, where]);
          // And what it says is done is on the medium, should the power fail at once.
          expect([(await read(medium.crash(medium.points, { mode: 'drop', seed }), output)).equals(after), where]).toEqual([true, where]);
          crashes++;
          // Nothing here waits for the machine, and what a signal refers to is kept to the end of a turn: gigabytes.
          await nextTurn();
          // Nothing about the outcome depends on the draw here.
          if (mode === 'drop' || mode === 'keep') break;
        }
      }
    }
    console.log(`${String(crashes)} crashes at ${String(start.points)} points, ${String(partly)} in the middle of a segment`);
    expect(crashes).toBeGreaterThan(100);
    expect(partly).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 600_000);
