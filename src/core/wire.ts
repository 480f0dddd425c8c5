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
  /** A map page or payload of a delta that makes the artifact, raw. */
  delta: ({ namespace, root }: ContentKey, id: ObjectId): string => `${API}/content/${namespace}/${root}/deltas/${id}`,
  /** What this host holds of one artifact: the span bitmap. */
  holding: ({ namespace, root }: ContentKey): string => `${API}/holdings/${namespace}/${root}`,
  /** What a device holds of the delta from `base` to the artifact: the bitmap of the segments whose payload is there. */
  deltaHolding: ({ namespace, root }: ContentKey, base: ObjectId): string => `${API}/holdings/${namespace}/${root}/deltas/${base}`,
  /** Prefix of the TUF repository: `N.root.json`, `timestamp.json`, … */
  metadata: `${API}/tuf/metadata`,
  /** Prefix of the TUF targets: release manifests. */
  targets: `${API}/tuf/targets`,
  /** Where hosts of a site say that they are there, and learn of each other. */
  peers: (site: string): string => `${API}/sites/${site}/peers`,
  /** Uploads of staging directories to an origin: begun, then one by its id. */
  uploads: `${API}/uploads`,
  upload: (id: string): string => `${API}/uploads/${id}`,
  /** The signed revocation list, which members pass on to each other. */
  revocations: `${API}/fleet/revocations`,
  /** For gateways: what an artifact is used for. */
  uses: (root: ObjectId): string => `${API}/fleet/uses/${root}`,
  /** For gateways: what devices said to them that they run. */
  runs: `${API}/fleet/runs`,
  /** Enrolment at an origin: open to whoever knows a token, or has an identity key. */
  anchors: `${API}/fleet/anchors`,
  enrol: `${API}/fleet/enroll`,
  renew: `${API}/fleet/renew`,
  /** For stock clients: the torrents on offer, one of them, what a torrent of several files lies below, and the tracker. */
  torrents: `${API}/torrents`,
  torrent: (product: string, version: string): string => `${API}/torrents/${product}/${version}.torrent`,
  torrentFiles: (product: string, version: string): string => `${API}/torrents/${product}/${version}/`,
  tracker: `${API}/torrents/announce`,
  /** Who a host is, for those who only know its address. */
  instance: `${API}/instance`,
  health: `${API}/health`,
  metrics: '/metrics',
} as const;

/** The chunk set of a content URL; `count` is the number of chunks in the span. Throws `BAD_CHUNK_SET`. */
export function chunkSetOf(text: string, count: number): number[] {
  return parseChunkSet(text, count);
}

/** Answer header of a holding: how many spans the artifact has (the bitmap's number of bits). */
export const HEADER_SPANS = 'shoal-spans';
/** Answer header of a delta's holding: how many segments the delta has (the bitmap's number of bits). */
export const HEADER_SEGMENTS = 'shoal-segments';
/** Answer header of a holding: `1` while the host is at work to get more of it. */
export const HEADER_WORKING = 'shoal-working';
/** Answer header of a holding: the spans that the host is bringing over the backhaul just now, at most `BRINGING_MOST`, as `3,17`. */
export const HEADER_BRINGING = 'shoal-bringing';
/** Answer header of a holding: those of them that it passes on while they come; no more, written in the same way. */
export const HEADER_ARRIVING = 'shoal-arriving';
/** Answer header of a holding: the root of the base whose delta the device uses, or `none`; absent while it is not decided. */
export const HEADER_BASE = 'shoal-base';
/** Answer header of a span: length of the raw bytes, whatever the content coding. */
export const HEADER_RAW_LENGTH = 'shoal-raw-length';

/**
 * Request header of whoever understands 102 (Processing, RFC 2518 10.1) as "still fetching it": a gateway on a slow link says
 * so every few seconds. Without the header nobody gets one, for some proxies do not expect it.
 */
export const HEADER_PATIENT = 'shoal-patient';

/** Request header of a device that asks a host for news: what it runs (`formatRuns`). Neighbours are not told. */
export const HEADER_RUNS = 'shoal-runs';

/** Answer header of `timestamp.json`: the version of the newest TUF root that the host has. Whoever has that need not ask for the next. */
export const HEADER_ROOT = 'shoal-root';

/** Answer header between members of a fleet: the number of the revocation list that the host has. */
export const HEADER_REVOCATIONS = 'shoal-revocations';

/** Cache rule of everything whose URL fixes its bytes. */
export const CACHE_IMMUTABLE = 'public, max-age=31536000, immutable, no-transform';
/** Cache rule of everything else. */
export const CACHE_NEVER = 'no-store';

/** A file of a staging directory as an upload announces it. */
export interface UploadFile {
  /** `metadata/N.ROLE.json` or `targets/…`. */
  readonly path: string;
  readonly length: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

/** An artifact that the releases of an upload consist of. */
export interface UploadArtifact extends ContentKey {
  readonly size: number;
  /** Which release it is of, for people. */
  readonly release: string;
  readonly name: string;
}

/** What a server lacks of one artifact, from some span on. */
export interface UploadGap {
  /** Pages that are asked for now. */
  readonly pages: readonly ObjectId[];
  /** Spans by number, and the chunk set that is missing of each. */
  readonly spans: readonly { readonly span: number; readonly chunks: string }[];
  /** Where to ask on once these have been sent; undefined at the end. */
  readonly next?: number;
}
