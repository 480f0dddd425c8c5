import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { isLeaf } from '../merkle/page.ts';
import type { LeafPage, Page } from '../merkle/page.ts';
import { chunkIdOf, verifyPage } from '../merkle/verify.ts';
import type { ObjectKind, StoredArtifact } from './types.ts';

export interface Visitor {
  /** The encoded page, or undefined when it is not here. */
  page(id: ObjectId): Promise<Uint8Array | undefined>;
  /** False when what is below the page was seen before. */
  enter(id: ObjectId): boolean;
  leaf(id: ObjectId, page: LeafPage): void;
  /** A page that is not here or not what its id says. */
  missing(id: ObjectId): void;
}

/** Visits every page that the index under `root` reaches, each verified. */
export async function walkIndex(root: ObjectId, visitor: Visitor): Promise<void> {
  // A stack of ids: an index has up to 256 pages in flight per level, so this stays small.
  const stack = [root];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    if (!visitor.enter(id)) continue;
    const encoded = await visitor.page(id);
    const page = encoded === undefined ? undefined : decoded(id, encoded);
    if (page === undefined) visitor.missing(id);
    else if (isLeaf(page)) visitor.leaf(id, page);
    else for (const child of page.children.toReversed()) stack.push(child.id);
  }
}

function decoded(id: ObjectId, encoded: Uint8Array): Page | undefined {
  try {
    return verifyPage(id, encoded).page;
  } catch (error) {
    if (error instanceof ShoalError) return undefined;
    throw error;
  }
}

/** How many missing ids are listed for one artifact. */
export const MISSING_LISTED = 1000;

/** Ids of pages and chunks that `artifact` needs and `has` does not know; the first `MISSING_LISTED` of them. */
export async function whatIsMissing(
  artifact: StoredArtifact,
  page: (id: ObjectId) => Promise<Uint8Array | undefined>,
  has: (ids: readonly ObjectId[]) => readonly boolean[],
): Promise<readonly ObjectId[]> {
  const missing: ObjectId[] = [];
  const note = (id: ObjectId): void => {
    if (missing.length < MISSING_LISTED) missing.push(id);
  };
  const seen = new Set<ObjectId>();
  await walkIndex(artifact.root, {
    page,
    enter: (id) => !seen.has(id) && seen.add(id) !== undefined,
    missing: note,
    leaf: (_id, { chunks }) => {
      const ids = chunks.map(({ id }) => id);
      for (const [index, here] of has(ids).entries()) if (!here) note(ids[index] as ObjectId);
    },
  });
  return missing;
}

export function incomplete(artifact: StoredArtifact, missing: readonly ObjectId[]): ShoalError {
  return new ShoalError('INCOMPLETE_ARTIFACT', `the artifact ${artifact.root.slice(0, 12)}… cannot be committed: ${String(missing.length)} pages or chunks of it are not in the store`, {
    ids: { root: artifact.root, namespace: artifact.namespace, missing: missing[0] ?? '' },
  });
}

export function batchClosed(): ShoalError {
  return new ShoalError('BATCH_CLOSED', 'the batch was committed or aborted before');
}

export function objectMismatch(id: ObjectId): ShoalError {
  return new ShoalError('OBJECT_MISMATCH', `the bytes put as object ${id.slice(0, 12)}… are not that object`, { ids: { id }, retry: 'elsewhere' });
}

export function noSuchArtifact(root: ObjectId): ShoalError {
  return new ShoalError('NO_SUCH_ARTIFACT', `the store holds no artifact with root ${root.slice(0, 12)}…`, { ids: { root } });
}

/** Says whether `bytes` is the object `id`: a page by its keyed hash, anything else by its plain one. */
export function objectIsIntact(kind: ObjectKind, id: ObjectId, bytes: Uint8Array): boolean {
  return kind === 'page' ? decoded(id, bytes) !== undefined : chunkIdOf(bytes) === id;
}
