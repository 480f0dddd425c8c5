import { ShoalError } from '../../core/errors.ts';
import { TORRENT_BLOCK_BYTES } from '../../core/limits.ts';

/**
 * The messages between BitTorrent clients (BEP 3, "Peer messages"). What comes is anybody's: a message is never longer than a
 * block or a bitfield, whatever its head says, and what is not known here is skipped.
 */

/** A stretch of a piece. Bytes. */
export interface Block {
  readonly piece: number;
  readonly begin: number;
  readonly length: number;
}

export type Message =
  | { readonly kind: 'choke' | 'unchoke' | 'interested' | 'not-interested' | 'keep-alive' | 'unknown' }
  | { readonly kind: 'have'; readonly piece: number }
  /** A view of what was read; good until the next message. */
  | { readonly kind: 'bitfield'; readonly bytes: Uint8Array }
  | ({ readonly kind: 'request' | 'cancel' } & Block)
  /** `bytes` as above. */
  | { readonly kind: 'piece'; readonly piece: number; readonly begin: number; readonly bytes: Uint8Array };

const SIMPLE = ['choke', 'unchoke', 'interested', 'not-interested'] as const;
const [HAVE, BITFIELD, REQUEST, PIECE, CANCEL] = [4, 5, 6, 7, 8];
const HEAD_BYTES = 4;
/** Id, piece and begin. */
const PIECE_HEAD_BYTES = 9;
const PROTOCOL = Buffer.from('\x13BitTorrent protocol', 'latin1');

/** What each side says first: protocol, eight reserved bytes, name of the torrent, name of the client. */
export const GREETING_BYTES = 68;

export interface Greeting {
  /** 40 hexadecimal digits. */
  readonly infoHash: string;
  readonly peerId: string;
}

export function encodeGreeting({ infoHash, peerId }: Greeting): Buffer {
  return Buffer.concat([PROTOCOL, Buffer.alloc(8), Buffer.from(infoHash, 'hex'), Buffer.from(peerId, 'hex')]);
}

/** Reads `GREETING_BYTES`; undefined when they are something else, such as an encrypted greeting. */
export function decodeGreeting(bytes: Uint8Array): Greeting | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (text.byteLength < GREETING_BYTES || !mayBeGreeting(text)) return undefined;
  return { infoHash: text.toString('hex', 28, 48), peerId: text.toString('hex', 48, 68) };
}

/** Whether it can still become one: nobody is waited for who says something else. */
export function mayBeGreeting(bytes: Uint8Array): boolean {
  const length = Math.min(bytes.byteLength, PROTOCOL.byteLength);
  return PROTOCOL.subarray(0, length).equals(bytes.subarray(0, length));
}

export function encodeSimple(kind: (typeof SIMPLE)[number]): Buffer {
  return Buffer.from([0, 0, 0, 1, SIMPLE.indexOf(kind)]);
}

export const KEEP_ALIVE = Buffer.alloc(HEAD_BYTES);

export function encodeHave(piece: number): Buffer {
  const message = Buffer.alloc(9);
  message.writeUInt32BE(5, 0);
  message[4] = HAVE;
  message.writeUInt32BE(piece, 5);
  return message;
}

export function encodeBitfield(bytes: Uint8Array): Buffer {
  const message = Buffer.alloc(5 + bytes.byteLength);
  message.writeUInt32BE(1 + bytes.byteLength, 0);
  message[4] = BITFIELD;
  message.set(bytes, 5);
  return message;
}

export function encodeBlock(kind: 'request' | 'cancel', { piece, begin, length }: Block): Buffer {
  const message = Buffer.alloc(17);
  message.writeUInt32BE(13, 0);
  message[4] = kind === 'request' ? REQUEST : CANCEL;
  message.writeUInt32BE(piece, 5);
  message.writeUInt32BE(begin, 9);
  message.writeUInt32BE(length, 13);
  return message;
}

/** The head of a piece message; the bytes of the block follow. */
export function encodePieceHead({ piece, begin, length }: Block): Buffer {
  const message = Buffer.alloc(HEAD_BYTES + PIECE_HEAD_BYTES);
  message.writeUInt32BE(PIECE_HEAD_BYTES + length, 0);
  message[4] = PIECE;
  message.writeUInt32BE(piece, 5);
  message.writeUInt32BE(begin, 9);
  return message;
}

/** Cuts what arrives into messages, in memory for one of them. */
export class MessageReader {
  readonly #most: number;
  readonly #buffer: Buffer;
  #filled = 0;

  /** `pieces`: how many the torrent has. */
  constructor(pieces: number) {
    this.#most = Math.max(PIECE_HEAD_BYTES + TORRENT_BLOCK_BYTES, 1 + ((pieces + 7) >> 3));
    this.#buffer = Buffer.allocUnsafeSlow(HEAD_BYTES + this.#most);
  }

  /** Throws `BAD_PEER_MESSAGE` for what is none, and what `take` throws. */
  push(bytes: Uint8Array, take: (message: Message) => void): void {
    let at = 0;
    while (at < bytes.byteLength) {
      const wanted = this.#filled < HEAD_BYTES ? HEAD_BYTES : HEAD_BYTES + this.#length();
      const part = bytes.subarray(at, at + wanted - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.byteLength;
      at += part.byteLength;
      if (this.#filled < HEAD_BYTES || this.#filled < HEAD_BYTES + this.#length()) continue;
      this.#filled = 0;
      take(decode(this.#buffer.subarray(HEAD_BYTES, HEAD_BYTES + this.#buffer.readUInt32BE(0))));
    }
  }

  #length(): number {
    const length = this.#buffer.readUInt32BE(0);
    if (length > this.#most) throw bad(`a message of ${String(length)} bytes; ${String(this.#most)} are taken`);
    return length;
  }
}

function decode(body: Buffer): Message {
  const id = body[0];
  if (id === undefined) return { kind: 'keep-alive' };
  const kind = SIMPLE[id];
  if (kind !== undefined) return of(body, 1, { kind });
  if (id === HAVE) return of(body, 5, () => ({ kind: 'have', piece: body.readUInt32BE(1) }));
  if (id === BITFIELD) return { kind: 'bitfield', bytes: body.subarray(1) };
  if (id === REQUEST || id === CANCEL) return of(body, 13, () => ({ kind: id === REQUEST ? 'request' : 'cancel', piece: body.readUInt32BE(1), begin: body.readUInt32BE(5), length: body.readUInt32BE(9) }));
  if (id === PIECE && body.byteLength > PIECE_HEAD_BYTES) return { kind: 'piece', piece: body.readUInt32BE(1), begin: body.readUInt32BE(5), bytes: body.subarray(PIECE_HEAD_BYTES) };
  if (id === PIECE) throw bad('a block without bytes');
  return { kind: 'unknown' };
}

function of(body: Buffer, length: number, message: Message | (() => Message)): Message {
  if (body.byteLength !== length) throw bad(`a message of kind ${String(body[0])} with ${String(body.byteLength)} bytes`);
  return typeof message === 'function' ? message() : message;
}

function bad(what: string): ShoalError {
  return new ShoalError('BAD_PEER_MESSAGE', `this is not BitTorrent: ${what}`, { retry: 'elsewhere' });
}

/** A bitfield of BEP 3 (highest bit first) as the numbers of the pieces. Throws `BAD_PEER_MESSAGE` for another length or spare bits that are set. */
export function piecesIn(bytes: Uint8Array, pieces: number): number[] {
  if (bytes.byteLength !== (pieces + 7) >> 3) throw bad('a bitfield of another length than the torrent');
  const held: number[] = [];
  for (let piece = 0; piece < 8 * bytes.byteLength; piece++) {
    if (((bytes[piece >> 3] ?? 0) & (0x80 >> (piece & 7))) === 0) continue;
    if (piece >= pieces) throw bad('a bitfield with spare bits');
    held.push(piece);
  }
  return held;
}

export function bitfieldOf(has: (piece: number) => boolean, pieces: number): Uint8Array {
  const bytes = new Uint8Array((pieces + 7) >> 3);
  for (let piece = 0; piece < pieces; piece++) if (has(piece)) bytes[piece >> 3] = (bytes[piece >> 3] ?? 0) | (0x80 >> (piece & 7));
  return bytes;
}
