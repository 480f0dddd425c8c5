import { blake3 } from '../kernel/hash.ts';
import { canBeMade, familyOf, readOnly } from './coding.ts';
import type { Family } from './coding.ts';
import { executablesIn, unchangedInExecutables } from './executables.ts';
import type { Begun } from './executables.ts';
import { findStreams } from './find.ts';
import { openedSize, partsOf, unitsOf } from './layout.ts';
import type { Part } from './layout.ts';
import { OpenedTarget } from './open-target.ts';
import { opener } from './opened.ts';
import { contentOf, proveStreams } from './prove.ts';
import { heldBytes, pick } from './streams.ts';
import type { Streams } from './streams.ts';
import type { Views } from './views.ts';

/** Two artifacts as a delta with containers sees them. */
export interface Expansion {
  readonly views: Views;
  /** The base, and behind it what its streams hold. */
  readonly base: Uint8Array;
  /** The opened target: each of its streams replaced by what it holds. */
  readonly target: Uint8Array;
  readonly units: readonly Unit[];
  /** Bytes [begin, end) of the base that nothing of the opened target resembles: streams, where all are opened that changed. */
  readonly rebuilt: readonly (readonly [number, number])[];
}

/** Target bytes of one segment. */
export interface Unit {
  readonly begin: number;
  readonly end: number;
  /** Where it begins when all are expanded, one after another, what crosses their ends in both. */
  readonly expanded: number;
  /** Where it begins in the opened target. */
  readonly opened: number;
  readonly parts: readonly Part[];
}

/** What was found in a target, compressed bytes each. */
export interface StreamCensus {
  /** All that can be read. */
  readonly found: number;
  /** Byte for byte in the base, which needs nothing. */
  readonly unchanged: number;
  /** Can be made again from what they hold. */
  readonly made: number;
  /** Of what is neither: by what compressed it. */
  readonly unmade?: Partial<Record<Family, number>>;
}

/** Below this a delta gains nothing. */
const LEAST_BYTES = 32 * 1024;

/** Of the bytes of a target's streams, those that changed and stay closed, up to which the base's are not looked into for them. */
const MOST_CLOSED = 0.01;

/** Streams that are decoded before others may run. */
const AT_ONCE = 16;

export interface ExpandOptions {
  /** Bytes that the expanded views may take. */
  readonly mostBytes: number;
  /** Bytes behind the base in its buffer that may be written. */
  readonly roomBehind?: number | undefined;
  /** See `ProveOptions`. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds the streams of both, proves which of the target's can be made again, and expands both. No `expansion` where it gains
 * nothing or there is no memory for it. Streams that did not change stay as they are, the base has their very bytes, but for those in
 * executables of which others did change.
 */
export async function expand(base: Uint8Array, target: Uint8Array, spanEnds: readonly number[], { mostBytes, roomBehind = 0, threads, signal }: ExpandOptions): Promise<{ readonly census: StreamCensus; readonly expansion: Expansion | undefined }> {
  const options = signal === undefined ? {} : { signal };
  const begun: (readonly Begun[])[] = [];
  const found = await findStreams(target, { ...options, onContent: (content) => begun.push(executablesIn(content)) });
  const foundBytes = found.size.reduce((sum, size) => sum + size, 0);
  const nothing = { census: { found: foundBytes, unchanged: 0, made: 0 }, expansion: undefined };
  if (foundBytes < LEAST_BYTES) return nothing;
  const before = await findStreams(base, options);
  const known = new Set(Array.from(before.at.keys(), (n) => nameOf(base, before, n)));
  const changed = Array.from(found.at.keys(), (n) => !known.has(nameOf(target, found, n)));
  const unchanged = new Set(unchangedInExecutables(found, begun, changed));
  const wanted = (n: number): boolean => changed[n] === true || unchanged.has(n);
  const bytesOf = (which: (n: number) => boolean): number => found.size.reduce((sum, size, n) => (which(n) ? sum + size : sum), 0);
  const expandedBase = base.length + heldBytes(before);
  const opened = new OpenedTarget(target, found, wanted, mostBytes - expandedBase);
  // The base is expanded meanwhile: threads look for what made the target's streams, and this one would wait for them.
  const worthwhile = before.at.length > 0 && bytesOf(wanted) >= LEAST_BYTES && expandedBase + target.length <= mostBytes;
  const [proven, own] = await settled([
    proveStreams(target, found, wanted, { threads, signal, onProven: (n, content) => { opened.keep(n, content); } }),
    worthwhile ? expandBase(base, before, expandedBase, roomBehind) : Promise.resolve(base),
  ]);
  const { ends, streams } = unitsOf(target, pick(proven, (n) => canBeMade(proven.coding[n] as number)), spanEnds);
  const open = new Set(streams.at);
  const closed = new Set(Array.from(found.at.keys()).filter((n) => !open.has(found.at[n] as number)).map((n) => nameOf(target, found, n)));
  const leftBytes = bytesOf((n) => changed[n] === true && !open.has(found.at[n] as number));
  // What is closed in the target may lie in a base stream that is like it.
  const rebuilt = leftBytes > foundBytes * MOST_CLOSED ? [] : Array.from(before.at, (at, n): readonly [number, number] => [at, at + (before.size[n] as number)]).filter((_, n) => !closed.has(nameOf(base, before, n)));
  const census = { found: foundBytes, unchanged: bytesOf((n) => changed[n] !== true), made: streams.size.reduce((sum, size) => sum + size, 0), unmade: unmadeOf(found, (n) => changed[n] === true && !canBeMade(proven.coding[n] as number)) };
  if (!worthwhile || census.made < LEAST_BYTES || expandedBase + openedSize(streams, target.length) > mostBytes) return { census, expansion: undefined };
  return { census, expansion: { views: { base: { ...before, coding: before.coding.map((coding) => (coding < 128 ? coding : readOnly(coding))) }, target: streams }, base: own, target: await opened.with(streams), units: layOut(streams, ends), rebuilt } };
}

/** All results; what fails first is thrown when all have ended, for they share memory. */
async function settled<A, B>([first, second]: readonly [Promise<A>, Promise<B>]): Promise<readonly [A, B]> {
  await Promise.allSettled([first, second]);
  return Promise.all([first, second]);
}

function unmadeOf({ size, coding }: Streams, which: (n: number) => boolean): Partial<Record<Family, number>> {
  const unmade: Partial<Record<Family, number>> = {};
  for (const [n, bytes] of size.entries()) {
    const family = familyOf(coding[n] as number);
    if (family !== undefined && which(n)) unmade[family] = (unmade[family] ?? 0) + bytes;
  }
  return unmade;
}

function layOut(streams: Streams, ends: readonly number[]): readonly Unit[] {
  let begin = 0;
  let expanded = 0;
  const openedAt = opener(streams);
  return ends.map((end) => {
    const unit = { begin, end, expanded, opened: openedAt(begin), parts: partsOf(streams, begin, end) };
    begin = end;
    expanded += unit.parts.reduce((sum, { length }) => sum + length, 0);
    return unit;
  });
}

function nameOf(whole: Uint8Array, streams: Streams, n: number): string {
  const at = streams.at[n] as number;
  return Buffer.from(blake3(whole.subarray(at, at + (streams.size[n] as number)))).toString('latin1');
}

/** The base, and behind it what its streams hold, `size` bytes in all; in its own buffer where `roomBehind` bytes behind it suffice. */
export async function expandBase(base: Uint8Array, streams: Streams, size: number, roomBehind: number): Promise<Uint8Array> {
  const fits = size - base.length <= roomBehind;
  const out = fits ? Buffer.from(base.buffer, base.byteOffset, size) : Buffer.allocUnsafeSlow(size);
  if (!fits) out.set(base);
  let at = base.length;
  for (const n of streams.at.keys()) {
    if (n % AT_ONCE === 0) await new Promise(setImmediate);
    await contentOf(base, streams, n, out.subarray(at, (at += streams.held[n] as number)));
  }
  return out;
}
