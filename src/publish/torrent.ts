import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { ShoalError, messageOf } from '../core/errors.ts';
import { TORRENT_MAX_BYTES, TORRENT_MAX_FILE_BYTES } from '../core/limits.ts';

/**
 * Releases as torrents for stock clients: BEP 3 (version 1 alone: what create-torrent makes), with web seeds (BEP 19). A
 * torrent is the info dictionary, which the content fixes, and around it what may differ from place to place: trackers and
 * web seeds.
 */

/** One file of a torrent, read in order and once. */
export interface TorrentPart {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** A piece is good until the next is asked for. */
  open(): AsyncIterable<Uint8Array>;
}

export interface TorrentPlaces {
  /** BEP 19 url-list: of a torrent of one file the URL of the file, else of what the files lie below, ending in a slash. */
  readonly webSeeds?: readonly string[];
  /** BEP 3 announce; each a tier of its own (BEP 12). */
  readonly trackers?: readonly string[];
  readonly comment?: string;
}

export interface MakeTorrentOptions {
  /** Bytes hashed, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** The parts of `create-torrent` and `bencode` used here; neither has types of its own. */
type CreateTorrent = (input: readonly Readable[], options: Readonly<Record<string, unknown>>, done: (error: Error | null, torrent?: Uint8Array) => void) => void;

interface Bencode {
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

/** Not literals, or the compiler would look for types that there are not. */
const BENCODE: string = 'bencode';
const CREATE_TORRENT: string = 'create-torrent';

/** Loaded when somebody wants a torrent: most hosts never do. */
async function bencode(): Promise<Bencode> {
  return ((await import(BENCODE)) as { readonly default: Bencode }).default;
}

const KiB = 1024;
const MiB = 1024 * KiB;
/**
 * Some thousand pieces of 256 KiB to 4 MiB; larger only where there would be far too many. Smaller ones, as many programs
 * choose, make some clients ask a web seed for each of them: Transmission took three times as long with 32 KiB.
 */
const PIECES = 1_024;
const PIECES_MAX = 32_768;

/** Length of a piece, a power of two. */
export function pieceLength(bytes: number): number {
  let length = 256 * KiB;
  while ((length < bytes / PIECES && length < 4 * MiB) || length < bytes / PIECES_MAX) length *= 2;
  return length;
}

/**
 * The bencoded info dictionary of a torrent called `name`. It depends on names and bytes alone, so it is the same wherever
 * and whenever it is made. `private` (BEP 27): nobody's distributed hash table is told. A few pieces are in memory at a time.
 * Throws `NO_TORRENT` for what cannot be one, and what reading throws.
 */
export async function makeTorrentInfo(name: string, parts: readonly TorrentPart[], { onProgress, signal }: MakeTorrentOptions = {}): Promise<Uint8Array> {
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  if (total === 0 || total > TORRENT_MAX_BYTES) {
    throw new ShoalError('NO_TORRENT', total === 0 ? `${name} is empty: there is nothing for a torrent` : `${name} has ${String(total)} bytes: too many for a torrent`, { ids: { name } });
  }
  const { default: createTorrent } = (await import(CREATE_TORRENT)) as { readonly default: CreateTorrent };
  const stop = new AbortController();
  const inputs = parts.map((part) => Object.assign(Readable.from(copied(part, stop.signal, signal), { highWaterMark: 1 }), { name: part.name }));
  try {
    const made = await new Promise<Uint8Array>((resolve, reject) => {
      const options = {
        name, pieceLength: pieceLength(total), private: true, announceList: [],
        onProgress: (done: number) => onProgress?.(done, total),
        // Outside the info dictionary, and thrown away with the rest of it.
        creationDate: 1,
      };
      createTorrent(inputs, options, (error, torrent) => {
        if (torrent !== undefined) resolve(torrent);
        else reject(error ?? new ShoalError('NO_TORRENT', `${name} could not be made into a torrent`));
      });
    });
    const { decode, encode } = await bencode();
    return encode((decode(made) as { readonly info: unknown }).info);
  } finally {
    stop.abort();
    for (const input of inputs) input.destroy();
  }
}

/** create-torrent collects what it is given, and whoever reads a store uses its memory again: so copies. */
async function* copied({ name, size, open }: TorrentPart, ...signals: readonly (AbortSignal | undefined)[]): AsyncGenerator<Uint8Array> {
  let left = size;
  for await (const piece of open()) {
    for (const signal of signals) signal?.throwIfAborted();
    left -= piece.byteLength;
    if (piece.byteLength > 0) yield piece.slice();
  }
  if (left !== 0) throw new ShoalError('WRONG_LENGTH', `${name} is not as long as its release says`, { ids: { name } });
}

/** The torrent's name among clients (BEP 3): SHA-1 of the info dictionary, 40 hexadecimal digits. */
export function infoHashOf(info: Uint8Array): string {
  return createHash('sha1').update(info).digest('hex');
}

/** The bytes of a .torrent file. */
export async function torrentFile(info: Uint8Array, { webSeeds = [], trackers = [], comment }: TorrentPlaces): Promise<Uint8Array> {
  const { encode } = await bencode();
  // The info dictionary as it is: bencode has one spelling of a value, and clients hash the bytes (BEP 3). It sorts between.
  const before = encode({
    ...(trackers[0] === undefined ? {} : { announce: trackers[0], 'announce-list': trackers.map((tracker) => [tracker]) }),
    ...(comment === undefined ? {} : { comment }),
    'created by': 'Shoal',
    encoding: 'UTF-8',
  });
  const after = encode(webSeeds.length === 0 ? {} : { 'url-list': [...webSeeds] });
  return Buffer.concat([before.subarray(0, -1), Buffer.from('4:info'), info, after.subarray(1)]);
}

/** What a .torrent file says. */
export interface TorrentDescription {
  readonly name: string;
  readonly infoHash: string;
  readonly pieceLength: number;
  readonly pieces: number;
  readonly private: boolean;
  readonly files: readonly { readonly path: string; readonly size: number }[];
  readonly webSeeds: readonly string[];
  readonly trackers: readonly string[];
}

/** Reads a .torrent file, anybody's. Throws `BAD_TORRENT`. */
export async function describeTorrent(bytes: Uint8Array): Promise<TorrentDescription> {
  if (bytes.byteLength > TORRENT_MAX_FILE_BYTES) throw badTorrent('it is too long');
  const { decode, encode } = await bencode();
  let torrent: Dictionary;
  let info: Dictionary;
  try {
    torrent = dictionary(decode(bytes));
    info = dictionary(torrent['info']);
  } catch (error) {
    throw badTorrent(messageOf(error));
  }
  const pieces = info['pieces'];
  const length = info['piece length'];
  if (!(pieces instanceof Uint8Array) || pieces.byteLength % 20 !== 0 || !isCount(length)) throw badTorrent('it has no pieces of version 1');
  const name = text(info['name']);
  const files = Array.isArray(info['files']) ? info['files'].map((file) => fileOf(dictionary(file))) : [fileOf({ length: info['length'], path: [info['name']] })];
  return {
    name,
    infoHash: infoHashOf(encode(info)),
    pieceLength: length,
    pieces: pieces.byteLength / 20,
    private: info['private'] === 1,
    files,
    webSeeds: texts(torrent['url-list']),
    trackers: [...new Set([...texts(torrent['announce']), ...(Array.isArray(torrent['announce-list']) ? torrent['announce-list'].flatMap(texts) : [])])],
  };
}

type Dictionary = Readonly<Record<string, unknown>>;

function dictionary(value: unknown): Dictionary {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) throw badTorrent('a dictionary is missing');
  return value as Dictionary;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function text(value: unknown): string {
  if (!(value instanceof Uint8Array)) throw badTorrent('a name is missing');
  return Buffer.from(value).toString('utf8');
}

/** One text or a list of them; nothing of anything else. */
function texts(value: unknown): string[] {
  if (value instanceof Uint8Array) return [text(value)];
  return Array.isArray(value) ? value.flatMap((each) => (each instanceof Uint8Array ? [text(each)] : [])) : [];
}

function fileOf({ length, path }: Dictionary): { readonly path: string; readonly size: number } {
  if (!isCount(length) || !Array.isArray(path) || path.length === 0) throw badTorrent('a file has no length or no name');
  return { path: path.map(text).join('/'), size: length };
}

function badTorrent(why: string): ShoalError {
  return new ShoalError('BAD_TORRENT', `this is not a torrent that can be read: ${why}`);
}
