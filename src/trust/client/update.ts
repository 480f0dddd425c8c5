import { isShoalError, messageOf } from '../../core/errors.ts';
import { CONTROL_TIMEOUT_MS, METADATA_MAX_BYTES, ROOT_MAX_BYTES, ROOT_MAX_STEPS, TIMESTAMP_MAX_BYTES } from '../../core/limits.ts';
import { isSignedBy, parseMetadata, sha256 } from '../metadata.ts';
import type { RootMetadata, TargetsMetadata } from '../metadata.ts';
import { metadataFile } from '../roles.ts';
import type { MetadataFetcher } from '../types.ts';
import type { Marks } from './marks.ts';
import { refusal } from './refusals.ts';
import type { RefusalContext } from './refusals.ts';
import { BadVersionError, EqualVersionError, ExpiredMetadataError, LengthOrHashMismatchError, TrustedMetadataStore, UnsignedMetadataError } from './tuf.ts';

/** Metadata files as the device keeps them. Reading never fails: what is damaged is not there. */
export interface LocalMetadata {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
}

/** What the snapshot or the timestamp says about a file. */
interface FileMeta {
  readonly version: number;
  readonly length?: number | undefined;
  readonly hashes?: Readonly<Record<string, string>> | undefined;
}

/** One run through the TUF client workflow (specification 5), from a trusted root to the targets role. */
export class Update {
  readonly set: TrustedMetadataStore;
  readonly #fetcher: MetadataFetcher;
  readonly #local: LocalMetadata;
  readonly #now: Date;
  readonly #timeoutMs: number;
  /** Verified but not yet on the medium; written when the whole update stands. */
  readonly #fresh = new Map<string, Uint8Array>();

  /** `root` is trusted: from the device's own state or its provisioning. */
  constructor(root: Uint8Array, fetcher: MetadataFetcher, local: LocalMetadata, now: Date, timeoutMs: number = CONTROL_TIMEOUT_MS) {
    this.set = new TrustedMetadataStore(Buffer.from(root));
    this.#fetcher = fetcher;
    this.#local = local;
    this.#now = now;
    this.#timeoutMs = timeoutMs;
    // TUF 5.1 fixes the time of the update once; tuf-js takes it from the machine, we from whoever made us.
    Reflect.set(this.set, 'referenceTime', now);
  }

  /** TUF 5.3: walks through every newer root, keeping each. Returns how many there were. */
  async roots(): Promise<number> {
    for (let step = 0; step < ROOT_MAX_STEPS; step++) {
      const version = this.set.root.signed.version + 1;
      const bytes = await this.fetch('metadata', metadataFile('root', version), 'root', ROOT_MAX_BYTES);
      if (bytes === undefined) return step;
      this.#check('root', bytes, () => this.set.updateRoot(Buffer.from(bytes)));
      await this.#local.write(metadataFile('root', version), bytes);
    }
    return ROOT_MAX_STEPS;
  }

  /** TUF 5.4 to 5.6.6: timestamp, snapshot, targets. `marks` are this device's, and of these roots' keys. */
  async refresh(marks: Marks): Promise<void> {
    await this.#timestamp(marks);
    await this.#snapshot(marks);
    await this.targets('targets', 'root');
  }

  async #timestamp(marks: Marks): Promise<void> {
    const context = this.#context('timestamp');
    const local = await this.#local.read('timestamp.json');
    if (local !== undefined) this.#tryLocal(() => this.set.updateTimestamp(Buffer.from(local)));
    const bytes = await this.#need('timestamp.json', 'timestamp', TIMESTAMP_MAX_BYTES);
    this.#check('timestamp', bytes, () => {
      try {
        this.set.updateTimestamp(Buffer.from(bytes));
        this.#fresh.set('timestamp.json', bytes);
      } catch (error) {
        // TUF 5.4.3.1: the same version again is no news, and no error.
        if (!(error instanceof EqualVersionError)) throw error;
        if (this.set.timestamp?.signed.isExpired(this.#now) === true) throw new ExpiredMetadataError('Final timestamp.json is expired');
      }
    });
    const timestamp = this.set.timestamp;
    if (timestamp === undefined) throw refusal('TUF_MALFORMED', context);
    // TUF 5.4.3 against what was seen before, even when the file that said so is damaged.
    if (timestamp.signed.version < marks.timestamp || timestamp.signed.snapshotMeta.version < marks.snapshot) throw refusal('TUF_ROLLBACK', context);
  }

  async #snapshot(marks: Marks): Promise<void> {
    const meta = this.set.timestamp?.signed.snapshotMeta as FileMeta;
    const local = await this.#local.read('snapshot.json');
    const stands = local !== undefined && this.#tryLocal(() => this.set.updateSnapshot(Buffer.from(local), true));
    if (!stands) {
      const bytes = await this.#need(metadataFile('snapshot', meta.version), 'snapshot', meta.length ?? METADATA_MAX_BYTES);
      this.#check('snapshot', bytes, () => this.set.updateSnapshot(Buffer.from(bytes)), meta);
      this.#fresh.set('snapshot.json', bytes);
    }
    for (const [role, version] of Object.entries(marks.roles)) {
      // TUF 5.5.5: nothing may go back or vanish.
      if ((this.set.snapshot?.signed.meta[`${role}.json`]?.version ?? 0) < version) throw refusal('TUF_ROLLBACK', this.#context(role));
    }
  }

  /** TUF 5.6: one targets role, as `parent` delegates it. Undefined when the snapshot does not know it. `from`: another host than the usual one. */
  async targets(role: string, parent: string, from = this.#fetcher): Promise<TargetsMetadata | undefined> {
    const meta = this.set.snapshot?.signed.meta[`${role}.json`] as FileMeta | undefined;
    if (meta === undefined) {
      if (role === 'targets') throw refusal('TUF_MIX_AND_MATCH', this.#context(role));
      return undefined;
    }
    const local = await this.#local.read(`${role}.json`);
    if (local === undefined || !this.#tryLocal(() => this.set.updateDelegatedTargets(Buffer.from(local), role, parent))) {
      const bytes = await this.#need(metadataFile(role, meta.version), role, meta.length ?? METADATA_MAX_BYTES, from);
      this.#check(role, bytes, () => this.set.updateDelegatedTargets(Buffer.from(bytes), role, parent), meta, parent);
      this.#fresh.set(`${role}.json`, bytes);
    }
    return this.set.getRole(role);
  }

  /** Puts everything that was new on the medium. */
  async persist(): Promise<void> {
    for (const [name, bytes] of this.#fresh) await this.#local.write(name, bytes);
    this.#fresh.clear();
  }

  /** One file within its bounds of bytes and time, or undefined when the source has none. */
  async fetch(kind: 'metadata' | 'target', path: string, role: string, maxBytes: number, from = this.#fetcher): Promise<Uint8Array | undefined> {
    const context = { role, source: from.source };
    const signal = AbortSignal.timeout(this.#timeoutMs);
    try {
      const bytes = await Promise.race([from.fetch(kind, path, maxBytes, signal), aborted(signal)]);
      if (bytes !== undefined && bytes.byteLength > maxBytes) throw refusal('TUF_ENDLESS', context);
      return bytes;
    } catch (cause) {
      if (isShoalError(cause, 'TOO_LONG')) throw refusal('TUF_ENDLESS', context, { cause });
      if (signal.aborted) throw refusal('TUF_TIMEOUT', context, { cause });
      throw cause;
    }
  }

  async #need(path: string, role: string, maxBytes: number, from = this.#fetcher): Promise<Uint8Array> {
    const bytes = await this.fetch('metadata', path, role, maxBytes, from);
    if (bytes === undefined) throw refusal('TUF_MISSING', { role, source: from.source });
    return bytes;
  }

  #context(role: string): RefusalContext {
    return { role, source: this.#fetcher.source };
  }

  /** Local files only save fetches and add protection: one that does not fit, or is damaged, is fetched again. */
  #tryLocal(check: () => unknown): boolean {
    try {
      check();
      return true;
    } catch {
      return false;
    }
  }

  #check(role: string, bytes: Uint8Array, check: () => unknown, meta?: FileMeta, parent = 'root'): void {
    try {
      check();
    } catch (cause) {
      throw this.#classify(cause, role, bytes, meta, parent);
    }
  }

  #classify(cause: unknown, role: string, bytes: Uint8Array, meta: FileMeta | undefined, parent: string): Error {
    const context = this.#context(role);
    if (cause instanceof LengthOrHashMismatchError) {
      if (this.#isAnotherVersion(role, bytes, meta, parent)) return refusal('TUF_MIX_AND_MATCH', context);
      return refusal(meta?.length !== undefined && meta.length !== bytes.byteLength ? 'TUF_LENGTH' : 'TUF_HASH', context);
    }
    if (cause instanceof UnsignedMetadataError) return refusal('TUF_SIGNATURE', context, { cause });
    if (cause instanceof ExpiredMetadataError) {
      // The root is judged when the timestamp comes (TUF 5.3.10), so the message names the culprit.
      const rootExpired = this.set.root.signed.isExpired(this.#now);
      const hint = `This device's clock says ${this.#now.toISOString()}; if that is wrong, set the clock.`;
      if (rootExpired) return refusal('TUF_EXPIRED', this.#context('root'), { hint });
      return refusal(role === 'timestamp' || role === 'snapshot' ? 'TUF_FREEZE' : 'TUF_EXPIRED', context, { hint });
    }
    if (cause instanceof BadVersionError) {
      const version = parseMetadata(role, bytes).signed.version;
      const mixed = role === 'root' ? version > this.set.root.signed.version : meta !== undefined && version !== meta.version;
      return refusal(mixed ? 'TUF_MIX_AND_MATCH' : 'TUF_ROLLBACK', context, { cause });
    }
    if (role === 'snapshot' && messageOf(cause).startsWith('Missing file')) return refusal('TUF_ROLLBACK', context, { cause });
    return refusal('TUF_MALFORMED', context, { cause });
  }

  /** Says whether the bytes are properly signed for the role, but of another version than was asked for. */
  #isAnotherVersion(role: string, bytes: Uint8Array, meta: FileMeta | undefined, parent: string): boolean {
    const delegator: RootMetadata | TargetsMetadata | undefined = parent === 'root' ? this.set.root : this.set.getRole(parent);
    try {
      const metadata = parseMetadata(role, bytes);
      return delegator !== undefined && metadata.signed.version !== meta?.version && isSignedBy(delegator, role, metadata);
    } catch {
      return false;
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    }, { once: true });
  });
}

/** Names the keys of timestamp and snapshot in a root: marks made under others do not count (TUF 5.3.11). */
export function onlineKeysOf(root: RootMetadata): string {
  const { timestamp, snapshot } = root.signed.roles;
  return sha256(Buffer.from(JSON.stringify([timestamp, snapshot].map((role) => [[...(role?.keyIDs ?? [])].sort(), role?.threshold]))));
}
