// `node tools/fuzz/parsers.ts SECONDS [SEED]`: the golden delta with bytes changed, cut, doubled and moved, through the file
// reader, the manifest, both tiers of decoders, and back. Whatever is not refused by name, or differs between the tiers,
// is a finding.
import { readFileSync } from 'node:fs';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { goldenPair as containerPair } from '../../fixtures/container/image.ts';
import { earlierPair, goldenPair } from '../../fixtures/delta/golden.ts';
import { random } from '../../fixtures/delta/inputs.ts';
import { findStreams } from '../../src/container/find.ts';
import { decodeViews, encodeViews } from '../../src/container/views.ts';
import { isShoalError } from '../../src/core/errors.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { DeltaApplier } from '../../src/delta/apply.ts';
import { deltaFileParts, openDeltaFile } from '../../src/delta/file.ts';
import { decodePage, decodePortably, decodeSegment, placesMoved } from '../../src/delta/kernel.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import { PREDICTION_BYTES, decodeDeltaManifest, encodeDeltaManifest } from '../../src/delta/manifest.ts';
import type { DeltaManifest } from '../../src/delta/manifest.ts';
import { decodeMapPage } from '../../src/delta/coding/map.ts';
import { memoryBase, predict } from '../../src/delta/predict.ts';
import { Shifts } from '../../src/delta/references/shifts.ts';
import { Codec } from '../../src/delta/types.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { rebuild } from '../../test/support/rebuild.ts';

const [seconds = '10', given] = process.argv.slice(2);
const seed = given === undefined ? Date.now() % 2 ** 31 : Number(given);
console.log(`seed ${String(seed)}`);
const next = random(seed);
const golden = readFileSync(new URL('../../fixtures/delta/golden-1.delta', import.meta.url));
const { base, target } = goldenPair();
const whole = await openDeltaFile(memoryBase(golden), golden.length);
const { outline } = whole;
// What only a manifest has, made up.
const manifest: DeltaManifest = {
  ...outline,
  base: { root: idFromBytes(blake3(base)), size: base.length },
  target: { root: idFromBytes(blake3(target)), size: target.length },
  segments: outline.segments.map((segment) => ({ ...segment, spans: 1, prerequisites: [], prediction: new Uint8Array(PREDICTION_BYTES), target: idFromBytes(blake3(base)) })),
};

// The same where segments copy from earlier ones; and a file of such.
const needing: DeltaManifest = { ...manifest, looksBack: true, segments: manifest.segments.map((segment, number) => ({ ...segment, prerequisites: number % 3 === 0 || segment.codec === Codec.RAW ? [] : [0, 1, 2].filter((each) => each < number) })) };
const earlier = { bytes: readFileSync(new URL('../../fixtures/delta/golden-3.delta', import.meta.url)), ...earlierPair() };

function mutated(bytes: Uint8Array, edits: number): Buffer {
  let out = Buffer.from(bytes);
  for (let n = 0; n < edits && out.length > 0; n++) {
    const at = next() % out.length;
    const size = next() % Math.min(64, out.length - at + 1);
    const kind = next() % 5;
    if (kind === 0) out[at] = next();
    else if (kind === 1) out[at] = (out[at] as number) ^ (1 << (next() % 8));
    else if (kind === 2) out = Buffer.concat([out.subarray(0, at), out.subarray(at + size)]);
    else if (kind === 3) out = Buffer.concat([out.subarray(0, at), out.subarray(at, at + size), out.subarray(at)]);
    else out.fill(next() % 2 === 0 ? 0 : 255, at, at + size);
  }
  return out;
}

/** True: it was taken. False: it was refused by name. Anything else is a finding. */
async function lawful(what: () => unknown): Promise<boolean> {
  try {
    await what();
    return true;
  } catch (error) {
    if (!isShoalError(error)) throw error;
    return false;
  }
}

function require(holds: boolean, what: string): void {
  if (!holds) throw new Error(`broken: ${what}`);
}

async function file(): Promise<void> {
  const looksBack = next() % 3 === 0;
  const bytes = mutated(looksBack ? earlier.bytes : golden, 1 + (next() % 4));
  await lawful(async () => {
    const delta = await openDeltaFile(memoryBase(bytes), bytes.length);
    const applier = new DeltaApplier(delta.outline, delta, memoryBase(looksBack ? earlier.base : base));
    const number = next() % Math.max(1, applier.segments.length);
    const made = await applier.segment(number, undefined, memoryBase(looksBack ? earlier.target : target));
    const begin = applier.segments[number]?.begin ?? 0;
    require(made.length === applier.segments[number]?.length && begin + made.length <= delta.outline.target.size, 'a segment of another length');
  });
}

const containers = readFileSync(new URL('../../fixtures/container/golden-2.delta', import.meta.url));
const images = containerPair();
const { views } = (await openDeltaFile(memoryBase(containers), containers.length)).outline;
if (views === undefined) throw new Error('the golden delta of containers has no streams');
const streams = inflateRawSync(encodeViews(views));

/** A delta of feature 2 as a device opens and applies it, its list of streams alone, and images that are searched for streams. */
async function container(): Promise<void> {
  const bytes = mutated(containers, 1 + (next() % 4));
  await lawful(async () => {
    const delta = await openDeltaFile(memoryBase(bytes), bytes.length);
    const applier = new DeltaApplier(delta.outline, delta, memoryBase(next() % 2 === 0 ? images.base : mutated(images.base, 3)));
    const made = await applier.segment(next() % Math.max(1, applier.segments.length));
    require(made.length <= delta.outline.target.size, 'a segment that is longer than its target');
  });
  await lawful(() => {
    const size = next() % 2 === 0 ? images.base.length : next();
    const { base: first, target: second } = decodeViews(deflateRawSync(mutated(streams, 1 + (next() % 4)), { level: 1 }), size, size);
    for (const { at, size: sizes } of [first, second]) for (const [n, begin] of at.entries()) require(begin + (sizes[n] as number) <= Math.min(size, at[n + 1] ?? size), 'streams that overlap or leave the artifact');
  });
  const image = mutated(images.target, 1 + (next() % 8));
  const found = await findStreams(image);
  for (const [n, begin] of found.at.entries()) require(begin + (found.size[n] as number) <= Math.min(image.length, found.at[n + 1] ?? image.length), 'streams that overlap');
}

/** Artifacts with whatever in them between the streams and in them, cut anyhow: what the encoder makes of them rebuilds the target. */
async function encoder(): Promise<void> {
  const [old, wanted] = [mutated(images.base, next() % 6), mutated(images.target, next() % 6)];
  const step = 3000 + (next() % 60_000);
  const ends = Array.from({ length: Math.ceil(wanted.length / step) }, (_, n) => Math.min(wanted.length, (n + 1) * step));
  const root = idFromBytes(blake3(wanted));
  const made = await makeDelta({ root, bytes: old }, { root, bytes: wanted }, ends);
  const bytes = Buffer.concat([...deltaFileParts(made)]);
  require((await rebuild(bytes, old)).equals(wanted), 'a delta that does not make its target');
}

async function manifestBytes(): Promise<void> {
  const bytes = mutated(encodeDeltaManifest(next() % 2 === 0 ? manifest : needing), 1 + (next() % 3));
  await lawful(() => {
    require(Buffer.from(encodeDeltaManifest(decodeDeltaManifest(bytes))).equals(bytes), 'a manifest that is not what it encodes to');
  });
}

async function page(): Promise<void> {
  const { id, size, covers } = manifest.pages[next() % manifest.pages.length] as (typeof manifest.pages)[number];
  const bytes = mutated(await whole.object(id, size), next() % 4);
  const count = next() % 2 === 0 ? covers : next() % 2000;
  const twin = decodeMapPage(bytes, 0, target.length, base.length, count);
  let list: Float64Array | undefined;
  await lawful(async () => {
    list = Float64Array.from(await decodePage(bytes, 0, target.length, base.length, count));
  });
  const flat = twin?.flatMap((c) => [c.target, c.length, c.base, c.fill]);
  require(JSON.stringify(flat) === JSON.stringify(list === undefined ? undefined : [...list]), 'map pages that the tiers read differently');
}

const covers = await Promise.all(
  manifest.pages.map(async ({ id, size, covers: count, segments }, number) => {
    const first = manifest.pages.slice(0, number).reduce((sum, each) => sum + each.segments, 0);
    const sum = (from: number, to: number): number => manifest.segments.slice(from, to).reduce((all, { length }) => all + length, 0);
    const begin = sum(0, first);
    return { first, begin, list: Float64Array.from(await decodePage(await whole.object(id, size), begin, begin + sum(first, first + segments), base.length, count)) };
  }),
);

const maps = covers.map(({ list }) => list);
const shifts = new Shifts(maps, base.length);
const moved = await placesMoved(maps, base.length);

async function payload(): Promise<void> {
  const number = next() % manifest.segments.length;
  const { codec, length, payload: object } = manifest.segments[number] as (typeof manifest.segments)[number];
  if ((codec !== Codec.SITES && codec !== Codec.MOVED) || object === undefined || length > 40_000) return;
  const own = covers.findLast(({ first }) => first <= number) as (typeof covers)[number];
  const begin = manifest.segments.slice(0, number).reduce((sum, each) => sum + each.length, 0);
  const bytes = mutated(await whole.object(object.id, object.size), next() % 4).subarray(0, length);
  const prediction = Buffer.alloc(length);
  const pieces = await predict(own.list, begin, prediction, memoryBase(base));
  const other = Buffer.from(prediction);
  const twin = decodePortably(codec, bytes, other, begin, pieces, shifts);
  const best = await lawful(() => decodeSegment(codec, bytes, prediction, begin, pieces, moved));
  require(twin === best && (!twin || other.equals(prediction)), 'a payload that the tiers decode differently');
}

const until = performance.now() + Number(seconds) * 1000;
let runs = 0;
for (; performance.now() < until; runs++) await [file, manifestBytes, page, payload, container, encoder][next() % 6]?.();
console.log(`runs ${String(runs)}`);
