import { join } from 'node:path';
import { ShoalError, isShoalError } from '../../core/errors.ts';
import { MANIFEST_MAX_BYTES, METADATA_MAX_BYTES } from '../../core/limits.ts';
import { decodeManifest } from '../../core/manifest.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { parseName } from '../../core/names.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import { Serial } from '../../store/serial.ts';
import { parseMetadata, sha256 } from '../metadata.ts';
import type { RootMetadata } from '../metadata.ts';
import { DELTAS_ROLE, LATEST, hashedPath, metadataFile, parseMetadataFile, releasePath } from '../roles.ts';
import type { DeltaOffer, DeviceProfile, MetadataFetcher, TrustClient, TrustedRelease } from '../types.ts';
import { deltasRole, fetchDeltaManifest, offersIn } from './deltas.ts';
import type { ListedDelta } from './deltas.ts';
import { checkFit } from './fit.ts';
import { MarksFile } from './marks.ts';
import type { Marks } from './marks.ts';
import { refusal, unfit } from './refusals.ts';
import { Update, onlineKeysOf } from './update.ts';
import type { LocalMetadata } from './update.ts';

export interface TufClientOptions {
  readonly files: Files;
  /** Where the device keeps its metadata and marks. Created when it is not there. */
  readonly directory: string;
  /** The provisioned `root.json`. A later one replaces an earlier one of the same fleet. */
  readonly trustedRoot: Uint8Array;
  readonly fetcher: MetadataFetcher;
  readonly profile: DeviceProfile;
  /** The time of day. */
  readonly now: () => Date;
  /** The sequence a device runs now, for `minimumSource`; default: the highest accepted one. `Infinity` checks nothing. */
  readonly installed?: (product: string) => number;
  /** Told why there are no deltas, when their role is refused. */
  readonly onNoDeltas?: (error: unknown) => void;
  /** Time for one file, milliseconds. Default `CONTROL_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
}

/** Before this program existed: a clock that says so was never set. */
const CLOCK_FLOOR = Date.parse('2024-01-01T00:00:00Z');

/** The device's side of trust, on tuf-js, with state that survives power cuts. One instance per state directory. */
export class TufClient implements TrustClient {
  readonly #options: TufClientOptions;
  readonly #marks: MarksFile;
  /** Hosts that did not give the latest release that was asked for. */
  readonly #unhelpful = new Set<string>();
  readonly #turns = new Serial();
  readonly #local: LocalMetadata;
  /** The last update that stood. */
  #latest: Update | undefined;

  private constructor(options: TufClientOptions, marks: MarksFile) {
    this.#options = options;
    this.#marks = marks;
    const { files, directory } = options;
    this.#local = {
      async read(name) {
        const path = join(directory, name);
        return ((await files.stat(path))?.size ?? 0) > METADATA_MAX_BYTES ? undefined : readWhole(files, path, METADATA_MAX_BYTES);
      },
      write: (name, bytes) => writeDurably(files, join(directory, name), bytes),
    };
  }

  /** Throws `BAD_TRUST_ROOT` when the provisioned root is none. */
  static async open(options: TufClientOptions): Promise<TufClient> {
    checkRoot(options.trustedRoot);
    await makeDirectories(options.files, options.directory);
    return new TufClient(options, await MarksFile.open(options.files, options.directory));
  }

  /** Highest accepted sequence of a product; 0 when none was. */
  highWater(product: string): number {
    return this.#marks.marks.sequences[product] ?? 0;
  }

  release(product: string, version?: string): Promise<TrustedRelease> {
    return this.#turns.run(async () => {
      parseName('product', product);
      if (version !== undefined) parseName('version', version);
      const refused: ShoalError[] = [];
      this.#unhelpful.clear();
      for (const host of this.#hosts()) {
        try {
          return await this.#releaseFrom(host, product, version);
        } catch (error) {
          // A version that somebody asks for by name may be newer than what a gateway has heard of.
          if (!isShoalError(error) || !(error.retry === 'elsewhere' || (error.code === 'NO_SUCH_RELEASE' && version !== undefined))) throw error;
          refused.push(error);
          this.#unhelpful.add(host.source);
        }
      }
      throw nobody(refused);
    });
  }

  deltas(target: ObjectId): Promise<readonly DeltaOffer[]> {
    return this.#turns.run(async () => {
      try {
        return (await this.#offers(target)).map(({ base, baseSize, bytes, manifestLength }) => ({ base, baseSize, bytes, manifestLength }));
      } catch (error) {
        this.#options.onNoDeltas?.(error);
        return [];
      }
    });
  }

  deltaManifest(target: ObjectId, base: ObjectId): Promise<Uint8Array> {
    return this.#turns.run(async () => {
      const listed = (await this.#offers(target)).find((offer) => offer.base === base);
      if (this.#latest === undefined || listed === undefined) throw unfit('NO_SUCH_DELTA', 'no delta between these two is published', { base, target });
      return fetchDeltaManifest(this.#latest, this.#hostsForDeltas(), listed);
    });
  }

  accepted(manifest: ReleaseManifest): Promise<void> {
    return this.#turns.run(async () => {
      const { marks } = this.#marks;
      const sequence = Math.max(this.highWater(manifest.product), manifest.sequence);
      await this.#marks.write({ ...marks, sequences: { ...marks.sequences, [manifest.product]: sequence } });
    });
  }

  #hosts(): readonly MetadataFetcher[] {
    return this.#options.fetcher.hosts ?? [this.#options.fetcher];
  }

  /** Whoever was of no use for the release comes last: a host that says nothing costs half a minute each time. */
  #hostsForDeltas(): readonly MetadataFetcher[] {
    return this.#hosts().toSorted((a, b) => Number(this.#unhelpful.has(a.source)) - Number(this.#unhelpful.has(b.source)));
  }

  async #offers(target: ObjectId): Promise<readonly ListedDelta[]> {
    const update = this.#latest;
    const top = update?.set.targets;
    if (update === undefined || top === undefined) return [];
    const role = update.set.getRole(DELTAS_ROLE) ?? (await deltasRole(update, this.#hostsForDeltas()));
    await update.persist();
    return role === undefined ? [] : offersIn(role, top, target);
  }

  async #releaseFrom(fetcher: MetadataFetcher, product: string, version: string | undefined): Promise<TrustedRelease> {
    try {
      return await this.#release(fetcher, product, version);
    } catch (error) {
      // Keys may have been exchanged between our look at the roots and at the rest: then a newer root is there now.
      if (!isShoalError(error, 'TUF_SIGNATURE') || (await (await this.#begin(fetcher)).roots()) === 0) throw error;
      return this.#release(fetcher, product, version);
    }
  }

  async #release(fetcher: MetadataFetcher, product: string, version: string | undefined): Promise<TrustedRelease> {
    const update = await this.#begin(fetcher);
    await update.roots();
    const root = update.set.root;
    const { marks } = this.#marks;
    if (root.signed.version < marks.root) throw refusal('TUF_ROLLBACK', { role: 'root', source: fetcher.source });
    const keys = onlineKeysOf(root);
    const sameKeys = keys === marks.keys;
    if (!sameKeys && marks.keys !== '') await this.#forgetOnline();
    await update.refresh(sameKeys ? marks : { ...marks, timestamp: 0, snapshot: 0, roles: {} });
    const release = await this.#find(update, fetcher, product, version);
    await update.persist();
    this.#latest = update;
    await this.#marks.write(this.#raised(update, root, keys));
    checkFit(release.manifest, {
      profile: this.#options.profile,
      highWater: this.highWater(product),
      installed: this.#options.installed?.(product) ?? this.highWater(product),
    });
    return release;
  }

  #raised(update: Update, root: RootMetadata, keys: string): Marks {
    const { marks } = this.#marks;
    const meta = Object.entries(update.set.snapshot?.signed.meta ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      root: root.signed.version,
      keys,
      timestamp: update.set.timestamp?.signed.version ?? 0,
      snapshot: update.set.snapshot?.signed.version ?? 0,
      roles: Object.fromEntries(meta.map(([file, { version }]) => [file.replace(/\.json$/, ''), version])),
      sequences: marks.sequences,
    };
  }

  /** TUF 5.3.11: after an exchange of online keys the old timestamp and snapshot protect nothing, and may be in the way. */
  async #forgetOnline(): Promise<void> {
    const { files, directory } = this.#options;
    for (const name of ['timestamp.json', 'snapshot.json']) await files.remove(join(directory, name));
    await files.syncDirectory(directory);
  }

  async #begin(fetcher: MetadataFetcher): Promise<Update> {
    const now = this.#options.now();
    if (now.getTime() < CLOCK_FLOOR) {
      throw unfit('CLOCK_UNSET', `this device's clock says ${now.toISOString()}, so it cannot tell whether signatures have expired`, {}, 'Set the clock (for example by NTP) and try again.', 'again');
    }
    return new Update(await this.#trustedRoot(), fetcher, this.#local, now, this.#options.timeoutMs);
  }

  /** The newest whole root among the device's own and the provisioned one. */
  async #trustedRoot(): Promise<Uint8Array> {
    const { files, directory, trustedRoot } = this.#options;
    const provisioned = checkRoot(trustedRoot);
    const versions = (await files.list(directory)).flatMap((name) => {
      const file = parseMetadataFile(name);
      return file?.role === 'root' ? [file.version] : [];
    });
    for (const version of versions.sort((a, b) => b - a)) {
      if (version < provisioned.signed.version) break;
      const bytes = await this.#local.read(metadataFile('root', version));
      const root = bytes === undefined ? undefined : wholeRoot(bytes);
      if (bytes === undefined || root?.signed.version !== version) continue;
      const same = version === provisioned.signed.version ? root : wholeRoot((await this.#local.read(metadataFile('root', provisioned.signed.version))) ?? new Uint8Array());
      if (same !== undefined && !same.signed.equals(provisioned.signed)) {
        throw unfit('TRUST_ROOT_CHANGED', `${directory} belongs to another fleet than the given trust root`, { directory }, 'Use the trust root of that fleet, or an empty state directory.');
      }
      return bytes;
    }
    await this.#local.write(metadataFile('root', provisioned.signed.version), trustedRoot);
    return trustedRoot;
  }

  /** TUF 5.6.7: the target among the roles that may sign its path, in their order. Delegations go one level deep. */
  async #find(update: Update, fetcher: MetadataFetcher, product: string, version: string | undefined): Promise<TrustedRelease> {
    const path = releasePath(product, version ?? LATEST);
    const top = update.set.targets;
    for (const { role, terminating } of top?.signed.delegations?.rolesForTarget(path) ?? []) {
      const target = (await update.targets(role, 'targets'))?.signed.targets[path];
      if (target !== undefined) {
        const context = { role: path, source: fetcher.source };
        const hash = target.hashes['sha256'];
        if (hash === undefined || target.length > MANIFEST_MAX_BYTES) throw refusal('TUF_MALFORMED', context);
        const bytes = await update.fetch('target', hashedPath(path, hash), path, target.length);
        if (bytes === undefined) throw refusal('TUF_MISSING', context);
        if (bytes.byteLength !== target.length) throw refusal('TUF_LENGTH', context);
        if (sha256(bytes) !== hash) throw refusal('TUF_HASH', context);
        const manifest = decodeManifest(bytes);
        if (manifest.product !== product || (version !== undefined && manifest.version !== version)) {
          throw unfit('WRONG_RELEASE', `${path} was signed, but describes ${manifest.product} ${manifest.version}`, { product, source: fetcher.source });
        }
        return { manifest, manifestBytes: bytes };
      }
      if (terminating) break;
    }
    const wanted = version === undefined ? `no release of ${product}` : `no ${product} ${version}`;
    throw unfit('NO_SUCH_RELEASE', `${fetcher.source} publishes ${wanted}`, { product, source: fetcher.source, ...(version === undefined ? {} : { version }) });
  }
}

/** Why no host was believed. What a host said wrongly tells more than that another could not be reached. */
function nobody(refused: readonly ShoalError[]): ShoalError {
  const [first, ...others] = refused.toSorted((a, b) => Number(b.code.startsWith('TUF_')) - Number(a.code.startsWith('TUF_')));
  if (first === undefined) return new ShoalError('NO_SOURCE', 'there is no host to ask for releases');
  if (others.length === 0) return first;
  const { code, ids, retry, hint } = first;
  return new ShoalError(code, refused.map(({ message }) => message).join('; '), { cause: first, ids, retry, ...(hint === undefined ? {} : { hint }) });
}

function wholeRoot(bytes: Uint8Array): RootMetadata | undefined {
  try {
    const root = parseMetadata('root', bytes);
    root.verifyDelegate('root', root);
    return root;
  } catch {
    return undefined;
  }
}

function checkRoot(bytes: Uint8Array): RootMetadata {
  const root = wholeRoot(bytes);
  if (root === undefined) throw new ShoalError('BAD_TRUST_ROOT', 'the given trust root is not a signed TUF root', { hint: 'Use trust/root.json of the publisher\'s home.' });
  return root;
}
