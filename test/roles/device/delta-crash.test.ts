import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../../src/chunk/params.ts';
import { groupSpans } from '../../../src/chunk/spans.ts';
import { walkChunks } from '../../../src/chunk/walk.ts';
import { ShoalError } from '../../../src/core/errors.ts';
import type { ObjectId } from '../../../src/core/ids.ts';
import type { ReleaseManifest } from '../../../src/core/manifest.ts';
import { makeDelta } from '../../../src/delta/making/make.ts';
import { memoryBase } from '../../../src/delta/predict.ts';
import type { DeltaSupply } from '../../../src/exchange/delta-choice.ts';
import type { Source } from '../../../src/exchange/source.ts';
import { IndexBuilder } from '../../../src/merkle/build.ts';
import { sealChunk } from '../../../src/merkle/verify.ts';
import type { VerifiedChunk, VerifiedPage } from '../../../src/merkle/verify.ts';
import { sampleBytes } from '../../support/artifact.ts';
import { cutEverywhere } from '../../support/cut-installation.ts';
import type { Installation } from '../../support/cut-installation.ts';
import { rebuilt } from '../../support/delta-pair.ts';

const MiB = 1024 * 1024;
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
  let partly = 0;
  const look: Installation['look'] = (partial, mode, isNew, where) => {
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
    return () => {
      // No segment that is whole on the medium is asked for, nor written, again.
      const again = segments.filter(({ payload }, number) => done[number] === true && payload !== undefined && asked.includes(payload.id));
      expect([again, where]).toEqual([[], where]);
    };
  };
  const onWhole = (): void => {
    expect(new Set(asked).size).toBe(delta.objects.size);
  };
  expect(await cutEverywhere({ before, after, manifest, source, deltas, onWhole, look }, SEEDS)).toBeGreaterThan(100);
  expect(partly).toBeGreaterThan(0);
}, 900_000);
