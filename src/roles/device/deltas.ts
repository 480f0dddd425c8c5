import { join } from 'node:path';
import { isObjectId } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTA_DROPPED_MAX } from '../../core/limits.ts';
import type { DeltaSupply } from '../../exchange/delta-choice.ts';
import type { SourceKind } from '../../exchange/source.ts';
import type { Files } from '../../store/files.ts';
import type { TrustClient } from '../../trust/types.ts';
import { KeptList } from './kept-list.ts';

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
  readonly #trust: Pick<TrustClient, 'deltas' | 'deltaManifest'>;
  readonly #hosts: () => readonly CountingHost[];
  readonly #recorded: (path: string) => ObjectId | undefined;
  readonly #onManifest: (bytes: Uint8Array) => Promise<void>;
  readonly #onDrop: (base: ObjectId, target: ObjectId, reason: string) => void;
  readonly #dropped: KeptList<Dropped>;

  private constructor(options: DeviceDeltasOptions, dropped: KeptList<Dropped>) {
    this.#trust = options.trust;
    this.#hosts = options.hosts;
    this.#recorded = options.recorded ?? (() => undefined);
    this.#onManifest = options.onManifest ?? (() => Promise.resolve());
    this.#onDrop = options.onDrop ?? (() => undefined);
    this.#dropped = dropped;
  }

  static async open(options: DeviceDeltasOptions): Promise<DeviceDeltas> {
    const limits = { maxBytes: MAX_BYTES, most: DELTA_DROPPED_MAX };
    return new DeviceDeltas(options, await KeptList.open(options.files, join(options.directory, 'dropped-deltas.json'), limits, isDropped));
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
    return this.#dropped.entries.some((each) => each.target === target && each.base === base);
  }

  async drop(target: ObjectId, base: ObjectId, reason: string): Promise<void> {
    this.#onDrop(base, target, reason);
    await this.#dropped.add({ base, target, reason }, (each) => each.target === target && each.base === base);
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

function isDropped(value: unknown): value is Dropped {
  const { base, target, reason } = (value ?? {}) as Partial<Record<keyof Dropped, unknown>>;
  return typeof base === 'string' && isObjectId(base) && typeof target === 'string' && isObjectId(target) && typeof reason === 'string';
}
