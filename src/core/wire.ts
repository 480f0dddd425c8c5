import { parseChunkSet, formatChunkSet } from './chunkset.ts';
import type { ObjectId } from './ids.ts';

/**
 * Where things are on the HTTP surface, for the side that serves and the side that asks (docs/protocol.md). Content paths
 * are immutable and name (namespace, root), the pair that access is granted by: knowing the hash of a chunk opens nothing.
 */

/** Which artifact of which namespace. */
export interface ContentKey {
  readonly namespace: string;
  readonly root: ObjectId;
}

export const API = '/v1';

export const wire = {
  /** One index page, raw. */
  page: ({ namespace, root }: ContentKey, id: ObjectId): string => `${API}/content/${namespace}/${root}/pages/${id}`,
  /** All raw bytes of one span, or of the chunks of it at `positions`, in order. */
  span: ({ namespace, root }: ContentKey, span: number, positions?: readonly number[]): string =>
    `${API}/content/${namespace}/${root}/spans/${String(span)}${positions === undefined ? '' : `/${formatChunkSet(positions)}`}`,
  /** The whole artifact, raw, with Range: for plain clients. */
  artifact: ({ namespace, root }: ContentKey): string => `${API}/content/${namespace}/${root}/artifact`,
  /** What this host holds of one artifact: the span bitmap. */
  holding: ({ namespace, root }: ContentKey): string => `${API}/holdings/${namespace}/${root}`,
  /** Prefix of the TUF repository: `N.root.json`, `timestamp.json`, … */
  metadata: `${API}/tuf/metadata`,
  /** Prefix of the TUF targets: release manifests. */
  targets: `${API}/tuf/targets`,
  /** Where hosts of a site say that they are there, and learn of each other. */
  peers: (site: string): string => `${API}/sites/${site}/peers`,
  health: `${API}/health`,
  metrics: '/metrics',
} as const;

/** The chunk set of a content URL; `count` is the number of chunks in the span. Throws `BAD_CHUNK_SET`. */
export function chunkSetOf(text: string, count: number): number[] {
  return parseChunkSet(text, count);
}

/** Answer header of a holding: how many spans the artifact has (the bitmap's number of bits). */
export const HEADER_SPANS = 'shoal-spans';
/** Answer header of a span: length of the raw bytes, whatever the content coding. */
export const HEADER_RAW_LENGTH = 'shoal-raw-length';

/** Cache rule of everything whose URL fixes its bytes. */
export const CACHE_IMMUTABLE = 'public, max-age=31536000, immutable, no-transform';
/** Cache rule of everything else. */
export const CACHE_NEVER = 'no-store';
