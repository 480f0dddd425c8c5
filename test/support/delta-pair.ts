import { writeFile } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { walkChunks } from '../../src/chunk/walk.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import type { ArtifactRecord } from '../../src/core/manifest.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { MadeDelta } from '../../src/delta/making/made.ts';
import { BaseSpans } from '../../src/exchange/base-spans.ts';
import type { DeltaSupply } from '../../src/exchange/delta-choice.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import type { StoreWriter } from '../../src/store/types.ts';

/** Bytes as a linker might leave them: the same with small changes everywhere, so that hardly a chunk survives. */
export function rebuilt(base: Uint8Array, step = 9_000, shift = 1): Buffer {
  const target = Buffer.from(base);
  for (let at = shift; at + 4 < target.byteLength; at += step) target.writeUInt32LE((target.readUInt32LE(at) + shift) >>> 0, at);
  return target;
}

export interface Spans {
  readonly root: ObjectId;
  /** Where each span ends. */
  readonly ends: readonly number[];
}

/** The spans of a file as a publisher finds them. */
export async function spansOf(path: string): Promise<Spans> {
  const file = await open(path);
  const spans = new BaseSpans();
  for await (const { id, length } of walkChunks(file, DEFAULT_CHUNKING)) spans.add({ id, length });
  await file.close();
  const { root, leaves } = await spans.end();
  return { root, ends: leaves.map(({ offset, bytes }) => offset + bytes) };
}

export interface PublishedPair {
  readonly base: Uint8Array;
  readonly basePath: string;
  readonly target: Uint8Array;
  readonly artifact: ArtifactRecord;
  readonly delta: MadeDelta;
}

/** Puts `target` into `store`, with the delta from `base`; `segmentPayload` makes more, smaller segments. */
export async function publishPair(store: StoreWriter, folder: string, base: Uint8Array, target: Uint8Array, name = 'pair', segmentPayload = 200): Promise<PublishedPair> {
  const [basePath, targetPath] = [join(folder, `${name}-base`), join(folder, `${name}-target`)];
  await writeFile(basePath, base);
  await writeFile(targetPath, target);
  const from = await spansOf(basePath);
  const batch = await store.begin();
  const { record, stored } = await ingestArtifact(batch, { path: targetPath, name: 'image' }, { namespace: 'default' });
  const delta = await makeDelta({ root: from.root, bytes: base }, { root: record.root, bytes: target }, (await spansOf(targetPath)).ends, { segmentPayload });
  for (const [id, bytes] of delta.objects) await batch.putObject('delta', id, bytes, record.root);
  await batch.commit([stored]);
  return { base, basePath, target, artifact: record, delta };
}

/** Deltas without trust: what `pairs` have, less what was dropped. */
export function supplyOf(pairs: readonly PublishedPair[], more: Partial<DeltaSupply> = {}): DeltaSupply & { readonly drops: { base: string; reason: string }[]; fetched: number } {
  const drops: { base: string; reason: string }[] = [];
  const supply = {
    drops,
    fetched: 0,
    offers: (target: ObjectId) => Promise.resolve(pairs.filter(({ artifact }) => artifact.root === target).map(({ base, delta }) => ({ base: delta.manifest.base.root, baseSize: base.byteLength, bytes: delta.bytes, manifestLength: delta.manifestBytes.byteLength }))),
    manifest: (target: ObjectId, base: ObjectId) => {
      supply.fetched++;
      const found = pairs.find(({ artifact, delta }) => artifact.root === target && delta.manifest.base.root === base);
      return found === undefined ? Promise.reject(new Error('no such delta')) : Promise.resolve({ bytes: found.delta.manifestBytes, from: 'origin' as const });
    },
    recorded: () => undefined,
    dropped: (_target: ObjectId, base: ObjectId) => drops.some((each) => each.base === base),
    drop: (_target: ObjectId, base: ObjectId, reason: string) => Promise.resolve(void drops.push({ base, reason })),
    ...more,
  };
  return supply;
}

