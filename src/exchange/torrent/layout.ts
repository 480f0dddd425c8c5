import { ShoalError } from '../../core/errors.ts';
import type { ArtifactRecord } from '../../core/manifest.ts';
import type { ContentKey } from '../../core/wire.ts';
import type { Block } from './messages.ts';

/** Where the artifacts of a release lie in the torrent of it. Bytes. */
export interface TorrentLayout {
  /** 40 hexadecimal digits. */
  readonly infoHash: string;
  readonly pieceLength: number;
  readonly pieces: number;
  readonly size: number;
  readonly parts: readonly TorrentPlace[];
}

export interface TorrentPlace {
  readonly key: ContentKey;
  readonly offset: number;
  readonly size: number;
}

/** What a .torrent file says, as far as it matters here. */
export interface TorrentShape {
  readonly infoHash: string;
  readonly pieceLength: number;
  readonly pieces: number;
  readonly files: readonly { readonly size: number }[];
}

/** No client makes smaller pieces; larger ones would only make what is held count later. */
const PIECE_LEAST = 16 * 1024;
const PIECE_MOST = 1024 * 1024 * 1024;

/**
 * A torrent as one of a signed release: the same artifacts in the same order. Nothing vouches for a torrent but this, and it need
 * not: its hashes are used for nothing, and every chunk is checked against the root. Throws `BAD_TORRENT`.
 */
export function layoutOf({ infoHash, pieceLength, pieces, files }: TorrentShape, namespace: string, artifacts: readonly ArtifactRecord[]): TorrentLayout {
  const parts: TorrentPlace[] = [];
  let size = 0;
  for (const { root, size: bytes } of artifacts) {
    parts.push({ key: { namespace, root }, offset: size, size: bytes });
    size += bytes;
  }
  const same = files.length === artifacts.length && files.every((file, at) => file.size === artifacts[at]?.size);
  if (!same) throw new ShoalError('BAD_TORRENT', 'this torrent is not of that release: its files have other sizes', { ids: { infoHash }, retry: 'again' });
  if (!Number.isSafeInteger(pieceLength) || pieceLength < PIECE_LEAST || pieceLength > PIECE_MOST || pieces !== Math.ceil(size / pieceLength)) {
    throw new ShoalError('BAD_TORRENT', `this torrent has ${String(pieces)} pieces of ${String(pieceLength)} bytes for ${String(size)} bytes`, { ids: { infoHash }, retry: 'again' });
  }
  return { infoHash, pieceLength, pieces, size, parts };
}

/** Where a block begins in the torrent, or undefined when it is not inside one of its pieces. */
export function offsetOf({ pieceLength, pieces, size }: TorrentLayout, { piece, begin, length }: Block): number | undefined {
  const offset = piece * pieceLength + begin;
  return piece < pieces && length > 0 && begin + length <= pieceLength && offset + length <= size ? offset : undefined;
}

/** The pieces that bytes `from` to `to` (exclusive, at least one) of the torrent lie in: the first, and the last. */
export function piecesOf({ pieceLength }: TorrentLayout, from: number, to: number): readonly [first: number, last: number] {
  return [Math.floor(from / pieceLength), Math.floor((to - 1) / pieceLength)];
}

/** The parts that bytes `from` to `to` of the torrent are of, and which bytes of each. */
export function partsOf({ parts }: TorrentLayout, from: number, to: number): readonly { readonly key: ContentKey; readonly from: number; readonly to: number }[] {
  return parts.flatMap(({ key, offset, size }) => (offset < to && offset + size > from ? [{ key, from: Math.max(0, from - offset), to: Math.min(size, to - offset) }] : []));
}
