import { dirname } from 'node:path';
import { adviceFor } from '../container/advise.ts';
import type { Advice } from '../container/advise.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import { DELTA_MAX_BYTES, METADATA_MAX_BYTES } from '../core/limits.ts';
import { memoryPlan } from '../delta/making/budget.ts';
import { bytesIfMade } from '../delta/making/if-made.ts';
import { makeDelta, roomBehind } from '../delta/making/make.ts';
import type { MadeDelta } from '../delta/making/made.ts';
import { canScratch, keepBelow, scratchMemory } from '../kernel/scratch.ts';
import type { PrunableStore } from '../store/types.ts';
import { listedDeltas, needDeltasKey } from '../trust/repository/deltas.ts';
import type { DeltaEntry } from '../trust/repository/deltas.ts';
import type { TrustHome } from '../trust/repository/home.ts';
import { publishDeltas } from '../trust/repository/online.ts';
import type { DeltaPair } from './delta-plan.ts';
import type { DeltaPolicy } from './delta-policy.ts';
import { contentCost, readStored } from './stored-artifact.ts';
import { isWhole } from './upkeep.ts';

export type DeltaResult =
  /** Made now and listed, or listed before. */
  | { readonly result: 'made' | 'kept'; readonly bytes: number; readonly contentBytes: number | undefined; readonly seconds: number; readonly advice?: Advice }
  /** A device would fetch no less with it, or hardly: thrown away. */
  | { readonly result: 'useless'; readonly bytes: number | undefined; readonly contentBytes: number; readonly seconds: number; readonly advice?: Advice }
  | { readonly result: 'failed'; readonly error: string; readonly message: string };

export type DeltaOutcome = DeltaPair & DeltaResult;

export interface MakeDeltasOptions extends Pick<DeltaPolicy, 'memoryBytes' | 'seconds'> {
  readonly clock: Clock;
  /** Ends it: what was listed stays, the rest is reported as failed. */
  readonly signal?: AbortSignal;
  /** Bytes of targets gone through, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Told of every delta as soon as it is decided. */
  readonly onOutcome?: (outcome: DeltaOutcome) => void;
  readonly threads?: number;
}

/** Between an object's being put and its being listed: seconds, and a crash in between costs space for so long. */
const LEASE_MS = 600_000;

/**
 * Makes deltas of what lies in the store, one after another, and lists each as soon as it is durable: map pages and payloads
 * first, then the manifest, last the signature that makes it visible. Power may fail at any point; called again it keeps
 * what is listed and whole. Throws nothing: why a delta could not be made is in its outcome, for the release is out already.
 */
export async function makeDeltas(home: TrustHome, store: PrunableStore, pairs: readonly DeltaPair[], options: MakeDeltasOptions): Promise<readonly DeltaOutcome[]> {
  const late = new AbortController();
  const cancel = options.clock.after(options.seconds * 1000, () => {
    late.abort(new ShoalError('OUT_OF_TIME', `the ${String(options.seconds)} seconds for deltas are over`, { retry: 'again' }));
  });
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal]);
  const total = pairs.reduce((sum, { target }) => sum + target.size, 0);
  const outcomes: DeltaOutcome[] = [];
  const work = new Workshop(home, store, { ...options, signal });
  let done = 0;
  try {
    for (const pair of pairs) {
      const result = await work.attempt(pair, (share) => options.onProgress?.(done + share * pair.target.size, total));
      done += pair.target.size;
      options.onProgress?.(done, total);
      outcomes.push({ ...pair, ...result });
      options.onOutcome?.({ ...pair, ...result });
    }
  } finally {
    cancel();
  }
  return outcomes;
}

type Listed = ReadonlyMap<string, DeltaEntry>;

/** Keeps the memory of the two artifacts from one delta to the next. */
class Workshop {
  readonly #home: TrustHome;
  readonly #store: PrunableStore;
  readonly #options: MakeDeltasOptions & { readonly signal: AbortSignal };
  #target: { readonly root: string; readonly bytes: Buffer; readonly spanEnds: readonly number[] } | undefined;
  #base: Buffer = Buffer.alloc(0);
  /** Where scratch memory for them lies; undefined while they are in memory. */
  #folder: string | undefined;
  #listed: Promise<Listed> | undefined;

  constructor(home: TrustHome, store: PrunableStore, options: MakeDeltasOptions & { readonly signal: AbortSignal }) {
    this.#home = home;
    this.#store = store;
    this.#options = options;
  }

  async attempt(pair: DeltaPair, onShare: (share: number) => void): Promise<DeltaResult> {
    const began = this.#options.clock.now();
    try {
      return await this.#make(pair, onShare, () => (this.#options.clock.now() - began) / 1000);
    } catch (cause) {
      const { signal } = this.#options;
      const error: unknown = signal.aborted ? signal.reason : cause;
      return { result: 'failed', error: isShoalError(error) ? error.code : 'INTERNAL', message: messageOf(error) };
    }
  }

  async #make(pair: DeltaPair, onShare: (share: number) => void, seconds: () => number): Promise<DeltaResult> {
    const { signal, memoryBytes, threads } = this.#options;
    const { base, target, from, to, artifact } = pair;
    signal.throwIfAborted();
    this.#listed ??= this.#list();
    const entry = (await this.#listed).get(`${base.root} ${target.root}`);
    // What verify has discarded is made again.
    if (entry !== undefined && (await isWhole(this.#home, this.#store, entry))) return { result: 'kept', bytes: entry.bytes, contentBytes: undefined, seconds: seconds() };
    if (Math.max(base.size, target.size) > DELTA_MAX_BYTES) throw new ShoalError('ARTIFACT_TOO_LARGE', `deltas are made of at most ${String(DELTA_MAX_BYTES)} bytes`);
    const { indexBytes, below } = memoryPlan(memoryBytes, base.size, target.size, canScratch, `${artifact} of ${from} and ${to}`, STORE_BYTES);
    const contentBytes = await contentCost(this.#store, base.root, target.root, signal);
    if (contentBytes <= LEAST_BYTES) return { result: 'useless', bytes: undefined, contentBytes, seconds: seconds() };
    const make = async (): Promise<{ readonly made: MadeDelta; readonly advice: { readonly advice?: Advice } }> => {
      const spanEnds = await this.#load(base, target, below === undefined ? undefined : dirname(this.#home.paths.config), signal);
      const inputs = [{ root: base.root, bytes: this.#base.subarray(0, base.size), roomBehind: this.#folder === undefined ? this.#base.byteLength - base.size : 0 }, { root: target.root, bytes: this.#target?.bytes ?? Buffer.alloc(0) }] as const;
      const encoding = { indexBytes, signal, ...(threads === undefined ? {} : { threads }) };
      const made = await makeDelta(...inputs, spanEnds, { ...encoding, onProgress: onShare });
      // A delta of a quarter of the artifact is a poor one: something is in the way.
      const found = made.bytes > target.size * POOR_SHARE ? adviceFor(inputs[1].bytes, made.census) : undefined;
      if (found === undefined) return { made, advice: {} };
      const { found: all, unchanged, made: again } = made.census;
      const deltaBytes = all - unchanged - again === found.bytes ? await bytesIfMade(...inputs, encoding) : undefined;
      return { made, advice: { advice: { ...found, ...(deltaBytes === undefined || deltaBytes >= made.bytes ? {} : { deltaBytes }) } } };
    };
    const { made, advice } = below === undefined ? await make() : await keepBelow(below, make);
    if (made.bytes > contentBytes * WORTH_SHARE) return { result: 'useless', bytes: made.bytes, contentBytes, seconds: seconds(), ...advice };
    if (made.manifestBytes.byteLength > METADATA_MAX_BYTES) throw new ShoalError('DELTA_TOO_LARGE', `the manifest of the delta has ${String(made.manifestBytes.byteLength)} bytes; at most ${String(METADATA_MAX_BYTES)} are served`);
    await this.#publish(pair, made);
    return { result: 'made', bytes: made.bytes, contentBytes, seconds: seconds(), ...advice };
  }

  async #list(): Promise<Listed> {
    await needDeltasKey(this.#home);
    return new Map((await listedDeltas(this.#home)).map((entry) => [`${entry.base} ${entry.target}`, entry]));
  }

  /** Reads both out of the store; into scratch memory in `folder` when that is given. */
  async #load(base: DeltaPair['base'], target: DeltaPair['target'], folder: string | undefined, signal: AbortSignal): Promise<readonly number[]> {
    const room = (size: number): Buffer => (folder === undefined ? Buffer.allocUnsafeSlow(size) : scratchMemory(folder, size));
    if (folder !== this.#folder) {
      this.#target = undefined;
      this.#base = Buffer.alloc(0);
      this.#folder = folder;
    }
    if (this.#target?.root !== target.root) {
      this.#target = undefined;
      const bytes = room(target.size);
      this.#target = { root: target.root, bytes, spanEnds: await readStored(this.#store, target.root, bytes, signal) };
    }
    if (this.#base.byteLength < base.size) {
      // The smaller one first, so that both are never there.
      this.#base = Buffer.alloc(0);
      this.#base = room(base.size + (folder === undefined ? roomBehind(base.size) : 0));
    }
    await readStored(this.#store, base.root, this.#base.subarray(0, base.size), signal);
    return this.#target.spanEnds;
  }

  /** Somebody else who writes to the home, such as a long upload, is waited for as long as there is time: the work is done. */
  async #publish(pair: DeltaPair, made: MadeDelta): Promise<void> {
    for (;;) {
      try {
        return await this.#put(pair, made);
      } catch (error) {
        if (!isShoalError(error, 'STORE_BUSY') && !isShoalError(error, 'HOME_BUSY')) throw error;
        this.#options.signal.throwIfAborted();
      }
    }
  }

  async #put({ base, target }: DeltaPair, { objects, manifestBytes, bytes }: MadeDelta): Promise<void> {
    // A gc that runs between the two sees the lease, and one that runs later the list.
    const lease = await this.#store.lease(target.root, LEASE_MS);
    try {
      const batch = await this.#store.begin();
      try {
        for (const [id, object] of objects) await batch.putObject('delta', id, object, target.root);
        await batch.commit([]);
      } catch (error) {
        await batch.abort();
        throw error;
      }
      await publishDeltas(this.#home, [{ base: base.root, target: target.root, bytes: manifestBytes, baseSize: base.size, deltaBytes: bytes }]);
    } finally {
      await lease.release();
    }
  }
}

/** What reading both out of the store leaves behind until it is collected, and the store itself. */
const STORE_BYTES = 144 * 1024 * 1024;
/** A delta that saves less than a tenth is not worth what it costs: space at the origin, time and memory on the device. */
const WORTH_SHARE = 0.9;
const POOR_SHARE = 0.25;
/** No delta is smaller: a manifest with one segment. */
const LEAST_BYTES = 180;
