import { join } from 'node:path';
import { isObjectId } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTA_DROPPED_MAX } from '../../core/limits.ts';
import type { DeltaSupply } from '../../exchange/delta-choice.ts';
import type { SourceKind } from '../../exchange/source.ts';
import { readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import type { TrustClient } from '../../trust/types.ts';

/** A delta that this device gave up. */
interface Dropped {
  readonly base: ObjectId;
  readonly target: ObjectId;
  /** Code of the error that ended it. */
  readonly reason: string;
}

const MAX_BYTES = 256 * 1024;

/**
 * The deltas of a device: listed by the trust client, without those that turned out useless here. These are remembered, so
 * that they cost nothing at the next attempt; whoever loses the list finds out once more.
 */
export class DeviceDeltas implements DeltaSupply {
  readonly #files: Files;
  readonly #path: string;
  readonly #trust: Pick<TrustClient, 'deltas' | 'deltaManifest'>;
  readonly #hosts: () => readonly CountingHost[];
  readonly #recorded: (path: string) => ObjectId | undefined;
  readonly #onManifest: (bytes: Uint8Array) => Promise<void>;
  readonly #onDrop: (base: ObjectId, target: ObjectId, reason: string) => void;
  #dropped: readonly Dropped[];

  private constructor(options: DeviceDeltasOptions, path: string, dropped: readonly Dropped[]) {
    this.#files = options.files;
    this.#path = path;
    this.#trust = options.trust;
    this.#hosts = options.hosts;
    this.#recorded = options.recorded ?? (() => undefined);
    this.#onManifest = options.onManifest ?? (() => Promise.resolve());
    this.#onDrop = options.onDrop ?? (() => undefined);
    this.#dropped = dropped;
  }

  static async open(options: DeviceDeltasOptions): Promise<DeviceDeltas> {
    const path = join(options.directory, 'dropped-deltas.json');
    return new DeviceDeltas(options, path, parse(await readWhole(options.files, path, MAX_BYTES).catch(() => undefined)));
  }

  readonly offers: DeltaSupply['offers'] = (target) => this.#trust.deltas(target);

  async manifest(target: ObjectId, base: ObjectId): Promise<{ readonly bytes: Uint8Array; readonly from: SourceKind }> {
    const before = this.#hosts().map((host) => ({ ...host, control: host.totals.control }));
    const bytes = await this.#trust.deltaManifest(target, base);
    // Whoever has sent that much meanwhile sent it; a neighbour, when it was none of the hosts.
    const sender = before.find(({ totals, control }) => totals.control - control >= bytes.byteLength);
    // A device that cannot pass it on can use it all the same.
    await this.#onManifest(bytes).catch(() => undefined);
    return { bytes, from: sender?.kind ?? 'peer' };
  }

  recorded(path: string): ObjectId | undefined {
    return this.#recorded(path);
  }

  dropped(target: ObjectId, base: ObjectId): boolean {
    return this.#dropped.some((each) => each.target === target && each.base === base);
  }

  async drop(target: ObjectId, base: ObjectId, reason: string): Promise<void> {
    this.#dropped = [{ base, target, reason }, ...this.#dropped.filter((each) => each.target !== target || each.base !== base)].slice(0, DELTA_DROPPED_MAX);
    this.#onDrop(base, target, reason);
    await writeDurably(this.#files, this.#path, Buffer.from(JSON.stringify(this.#dropped)));
  }
}

/** A host that trust files come from, with what it has sent so far. */
interface CountingHost {
  readonly kind: SourceKind;
  readonly totals: { readonly control: number };
}

export interface DeviceDeltasOptions {
  readonly files: Files;
  /** Where the device keeps its state. */
  readonly directory: string;
  readonly trust: Pick<TrustClient, 'deltas' | 'deltaManifest'>;
  readonly hosts: () => readonly CountingHost[];
  /** What was installed at a path. Default: nothing is known. */
  readonly recorded?: (path: string) => ObjectId | undefined;
  /** Told of every manifest, to be passed on to neighbours. */
  readonly onManifest?: (bytes: Uint8Array) => Promise<void>;
  readonly onDrop?: (base: ObjectId, target: ObjectId, reason: string) => void;
}

function parse(bytes: Uint8Array | undefined): readonly Dropped[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes ?? []).toString('utf8'));
    return Array.isArray(value) ? value.filter(isDropped).slice(0, DELTA_DROPPED_MAX) : [];
  } catch {
    return [];
  }
}

function isDropped(value: unknown): value is Dropped {
  const { base, target, reason } = (value ?? {}) as Partial<Record<keyof Dropped, unknown>>;
  return typeof base === 'string' && isObjectId(base) && typeof target === 'string' && isObjectId(target) && typeof reason === 'string';
}
