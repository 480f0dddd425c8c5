import { ShoalError } from './errors.ts';
import { isObjectId } from './ids.ts';
import type { ObjectId } from './ids.ts';
import {
  ARTIFACT_MAX_BYTES,
  CHUNK_MAX_BYTES,
  CHUNK_MIN_BYTES,
  MANIFEST_MAX_ARTIFACTS,
  MANIFEST_MAX_BYTES,
  MANIFEST_MAX_FEATURES,
  MANIFEST_MAX_HARDWARE,
} from './limits.ts';
import { isName } from './names.ts';

/** The only release manifest format so far. A device refuses any other. */
export const MANIFEST_FORMAT = 1;

/** How an artifact was cut. Recorded so that a device cuts its own files the same way when it looks for local chunks. */
export interface ChunkingRecord {
  /** Names the exact algorithm; see docs/chunking.md. */
  readonly algorithm: string;
  readonly min: number;
  readonly avg: number;
  readonly max: number;
}

export interface ArtifactRecord {
  /** Unique within the release; the file name a plain client would use. */
  readonly name: string;
  /** What the artifact is for on the device: `image`, `bootloader`, `config`, … Chosen by the publisher. */
  readonly role: string;
  /** Root of the Merkle index: fixes every byte. */
  readonly root: ObjectId;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the whole artifact, 64 lower-case hexadecimal digits, for systems that speak nothing else. */
  readonly sha256: string;
  readonly chunking: ChunkingRecord;
}

/** The signed description of one release of one product: the TUF target (docs/trust.md). */
export interface ReleaseManifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly namespace: string;
  readonly product: string;
  /** For people. Order is given by `sequence` alone. */
  readonly version: string;
  /** Grows with every release of the product; a device never goes below the highest it has accepted. */
  readonly sequence: number;
  /** The lowest sequence a device must already run before it may take this release; 0 when any will do. */
  readonly minimumSource: number;
  readonly artifacts: readonly ArtifactRecord[];
  /** Exact ids of the hardware this release is for; empty when it runs anywhere. */
  readonly hardware: readonly string[];
  /** Features an agent must implement to install this release; an unknown one is refused, never ignored. */
  readonly requiredFeatures: readonly string[];
}

class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(value: unknown, where: string, keys: readonly string[]) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(where, 'must be an object');
    this.#value = value as Readonly<Record<string, unknown>>;
    this.#where = where;
    for (const key of Object.keys(value)) if (!keys.includes(key)) throw bad(`${where}.${key}`, 'is not a known field');
  }

  name(key: string): string {
    const value = this.#value[key];
    if (typeof value !== 'string' || !isName(value)) throw bad(this.at(key), 'must be a name (letters, digits, ".", "_", "+", "-")');
    return value;
  }

  hex256(key: string): string {
    const value = this.#value[key];
    if (typeof value !== 'string' || !isObjectId(value)) throw bad(this.at(key), 'must be 64 lower-case hexadecimal digits');
    return value;
  }

  int(key: string, min: number, max: number): number {
    const value = this.#value[key];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw bad(this.at(key), `must be a whole number from ${String(min)} to ${String(max)}`);
    }
    return value;
  }

  list(key: string, most: number): readonly unknown[] {
    const value = this.#value[key];
    if (!Array.isArray(value) || value.length > most) throw bad(this.at(key), `must be a list of at most ${String(most)}`);
    return value;
  }

  names(key: string, most: number): readonly string[] {
    const names = this.list(key, most).map((value, index) => {
      if (typeof value !== 'string' || !isName(value)) throw bad(`${this.at(key)}[${String(index)}]`, 'must be a name');
      return value;
    });
    if (new Set(names).size !== names.length) throw bad(this.at(key), 'must not repeat itself');
    return names;
  }

  raw(key: string): unknown {
    return this.#value[key];
  }

  at(key: string): string {
    return `${this.#where}.${key}`;
  }
}

function bad(where: string, problem: string): ShoalError {
  return new ShoalError('BAD_MANIFEST', `the release manifest is not usable: ${where} ${problem}`, { ids: { field: where } });
}

const RELEASE_KEYS = ['format', 'namespace', 'product', 'version', 'sequence', 'minimumSource', 'artifacts', 'hardware', 'requiredFeatures'];

function checkChunking(value: unknown, where: string): ChunkingRecord {
  const fields = new Fields(value, where, ['algorithm', 'min', 'avg', 'max']);
  const min = fields.int('min', CHUNK_MIN_BYTES, CHUNK_MAX_BYTES);
  const avg = fields.int('avg', min, CHUNK_MAX_BYTES);
  return { algorithm: fields.name('algorithm'), min, avg, max: fields.int('max', avg, CHUNK_MAX_BYTES) };
}

function checkArtifact(value: unknown, where: string): ArtifactRecord {
  const fields = new Fields(value, where, ['name', 'role', 'root', 'size', 'sha256', 'chunking']);
  return {
    name: fields.name('name'),
    role: fields.name('role'),
    root: fields.hex256('root') as ObjectId,
    size: fields.int('size', 0, ARTIFACT_MAX_BYTES),
    sha256: fields.hex256('sha256'),
    chunking: checkChunking(fields.raw('chunking'), fields.at('chunking')),
  };
}

/**
 * Checks a value against the manifest format and returns a clean copy. Throws `BAD_MANIFEST` naming the field, or
 * `MANIFEST_FORMAT` when it is of a format this program does not know.
 */
export function checkManifest(value: unknown): ReleaseManifest {
  const format = (value as { format?: unknown } | null)?.format;
  if (typeof format === 'number' && format !== MANIFEST_FORMAT) {
    throw new ShoalError('MANIFEST_FORMAT', `the release manifest has format ${String(format)}; this program knows format ${String(MANIFEST_FORMAT)}`, {
      hint: 'Update the agent before this release.',
    });
  }
  const fields = new Fields(value, 'manifest', RELEASE_KEYS);
  fields.int('format', MANIFEST_FORMAT, MANIFEST_FORMAT);
  const artifacts = fields.list('artifacts', MANIFEST_MAX_ARTIFACTS).map((item, index) => checkArtifact(item, `manifest.artifacts[${String(index)}]`));
  if (artifacts.length === 0) throw bad('manifest.artifacts', 'must name at least one artifact');
  if (new Set(artifacts.map(({ name }) => name)).size !== artifacts.length) throw bad('manifest.artifacts', 'must have different names');
  const sequence = fields.int('sequence', 1, Number.MAX_SAFE_INTEGER);
  return {
    format: MANIFEST_FORMAT,
    namespace: fields.name('namespace'),
    product: fields.name('product'),
    version: fields.name('version'),
    sequence,
    minimumSource: fields.int('minimumSource', 0, sequence),
    artifacts,
    hardware: fields.names('hardware', MANIFEST_MAX_HARDWARE),
    requiredFeatures: fields.names('requiredFeatures', MANIFEST_MAX_FEATURES),
  };
}

/** Reads a manifest from its bytes. Throws as `checkManifest` does, and `BAD_MANIFEST` when it is too long or not JSON. */
export function decodeManifest(bytes: Uint8Array): ReleaseManifest {
  if (bytes.byteLength > MANIFEST_MAX_BYTES) throw bad('manifest', `is longer than ${String(MANIFEST_MAX_BYTES)} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ShoalError('BAD_MANIFEST', 'the release manifest is not usable: it is not JSON in UTF-8', { cause });
  }
  return checkManifest(value);
}

/** The bytes that are signed. Any JSON text of the manifest would do; this one is indented for people. */
export function encodeManifest(manifest: ReleaseManifest): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(checkManifest(manifest), null, 1)}\n`);
}
