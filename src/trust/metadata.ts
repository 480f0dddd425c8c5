import { createHash } from 'node:crypto';
import { Metadata, MetadataKind, type Root, type Snapshot, type Targets, type Timestamp } from '@tufjs/models';
import { ShoalError, messageOf } from '../core/errors.ts';

/** TUF metadata as bytes and as `@tufjs/models` objects. Nothing here trusts anything: who calls verifies. */
export type RootMetadata = Metadata<Root>;
export type TargetsMetadata = Metadata<Targets>;
export type SnapshotMetadata = Metadata<Snapshot>;
export type TimestampMetadata = Metadata<Timestamp>;
export type AnyMetadata = RootMetadata | TargetsMetadata | SnapshotMetadata | TimestampMetadata;

/** The specification the metadata is written by. */
const SPEC_VERSION = '1.0.31';

type Json = Parameters<typeof Root.fromJSON>[0];

function kindOf(role: string): MetadataKind {
  if (role === 'root') return MetadataKind.Root;
  if (role === 'snapshot') return MetadataKind.Snapshot;
  if (role === 'timestamp') return MetadataKind.Timestamp;
  return MetadataKind.Targets;
}

function build(role: string, json: Json): AnyMetadata {
  const kind = kindOf(role);
  if (kind === MetadataKind.Root) return Metadata.fromJSON(kind, json);
  if (kind === MetadataKind.Snapshot) return Metadata.fromJSON(kind, json);
  if (kind === MetadataKind.Timestamp) return Metadata.fromJSON(kind, json);
  return Metadata.fromJSON(MetadataKind.Targets, json);
}

/** Reads a metadata file of `role`. Throws `TUF_MALFORMED`. */
export function parseMetadata(role: 'root', bytes: Uint8Array): RootMetadata;
export function parseMetadata(role: 'snapshot', bytes: Uint8Array): SnapshotMetadata;
export function parseMetadata(role: 'timestamp', bytes: Uint8Array): TimestampMetadata;
export function parseMetadata(role: string, bytes: Uint8Array): TargetsMetadata;
export function parseMetadata(role: string, bytes: Uint8Array): AnyMetadata {
  try {
    const metadata = build(role, JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Json);
    const { version } = metadata.signed;
    if (!Number.isSafeInteger(version) || version < 1) throw new Error(`version ${String(version)} is not a counting number`);
    return metadata;
  } catch (cause) {
    throw new ShoalError('TUF_MALFORMED', `the ${role} metadata cannot be read: ${messageOf(cause)}`, { cause, ids: { role }, retry: 'elsewhere' });
  }
}

/** Unsigned metadata from the body that will be signed. */
export function unsigned(role: 'root', body: Json): RootMetadata;
export function unsigned(role: 'snapshot', body: Json): SnapshotMetadata;
export function unsigned(role: 'timestamp', body: Json): TimestampMetadata;
export function unsigned(role: string, body: Json): TargetsMetadata;
export function unsigned(role: string, body: Json): AnyMetadata {
  return build(role, { signed: { _type: kindOf(role), spec_version: SPEC_VERSION, ...body }, signatures: [] });
}

export function encodeMetadata(metadata: AnyMetadata): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(metadata.toJSON(), null, 1)}\n`);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Length and hash as the snapshot and the timestamp record them. */
export function fileInfo(bytes: Uint8Array): { length: number; hashes: { sha256: string } } {
  return { length: bytes.byteLength, hashes: { sha256: sha256(bytes) } };
}

/** `days` after `now` in the form the specification asks for (TUF 4.2.1, whole seconds). */
export function expiry(now: Date, days: number): string {
  return new Date(now.getTime() + days * 86_400_000).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Says whether `metadata` carries enough signatures for `role` as `delegator` (a root or targets) defines it. */
export function isSignedBy(delegator: AnyMetadata, role: string, metadata: AnyMetadata): boolean {
  try {
    delegator.verifyDelegate(role, metadata);
    return true;
  } catch {
    return false;
  }
}
