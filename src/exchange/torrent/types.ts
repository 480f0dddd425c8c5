import type { ContentKey } from '../../core/wire.ts';

/** What this device has of the artifacts in a torrent. */
export interface TorrentContent {
  /** How many spans of an artifact are here: while that stays the same, so does what `has` says. */
  spans(key: ContentKey): Promise<number>;
  /** Whether bytes `from` to `to`, exclusive, of an artifact are here. */
  has(key: ContentKey, from: number, to: number): Promise<boolean>;
  /** These bytes, each chunk checked as it leaves. Throws when they are not here, or not as they should be. */
  read(key: ContentKey, from: number, to: number): AsyncIterable<Uint8Array>;
}

/** Where another client is. */
export interface TorrentAddress {
  readonly host: string;
  readonly port: number;
}
