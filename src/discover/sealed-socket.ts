import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import type { Clock } from '../core/clock.ts';
import { DHT_MESSAGES_A_SECOND, DHT_WINDOW_MS } from '../core/limits.ts';

/** AES-256-GCM (NIST SP 800-38D): a random nonce, what is sealed, a tag. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Twice what the largest answer has: 512 neighbours of eight bytes. */
const MESSAGE_MAX_BYTES = 8_192;
/** Keys of the window that runs and of its neighbours, for clocks that differ. */
const WINDOWS = [0, -1, 1];
const KEYS_MAX = 8;

/** A key that follows from the fleet's secret, for one purpose and hour (HKDF, RFC 5869). 32 bytes. */
export function windowKey(secret: Uint8Array, purpose: string, window: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'shoal dht 1', `${purpose} ${String(window)}`, 32));
}

/**
 * A UDP socket whose datagrams are sealed with a key of the fleet that changes every hour. What does not open is from a stranger,
 * or was recorded hours ago: it is dropped without an answer. It has the part of `dgram.Socket` that k-rpc-socket uses.
 */
export class SealedSocket extends EventEmitter {
  readonly #socket: Socket = createSocket('udp4');
  readonly #secret: Uint8Array;
  readonly #clock: Clock;
  readonly #today: () => number;
  readonly #keys = new Map<number, Buffer>();
  #second = 0;
  #messages = 0;
  #open = true;
  /** Bytes on the wire without IP and UDP heads. */
  readonly totals = { sent: 0, received: 0, dropped: 0 };

  constructor(secret: Uint8Array, clock: Clock, today: () => number) {
    super();
    this.#secret = secret;
    this.#clock = clock;
    this.#today = today;
    this.#socket.on('message', (bytes, from) => { this.#heard(bytes, from); });
    this.#socket.on('listening', () => this.emit('listening'));
    this.#socket.on('error', (error) => this.emit('error', error));
    this.#socket.on('close', () => this.emit('close'));
  }

  bind(port: number, address: string, listening: () => void): void {
    this.#socket.bind(port, address, listening);
  }

  address(): { readonly address: string; readonly port: number } {
    return this.#socket.address();
  }

  send(buffer: Uint8Array, offset: number, length: number, port: number, address: string, done?: (error: Error | null) => void): void {
    if (!this.#open) return;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key(this.#window), nonce);
    const sealed = Buffer.concat([nonce, cipher.update(buffer.subarray(offset, offset + length)), cipher.final(), cipher.getAuthTag()]);
    this.totals.sent += sealed.byteLength;
    this.#socket.send(sealed, port, address, (error) => done?.(error));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close();
  }

  get #window(): number {
    return Math.floor(this.#today() / DHT_WINDOW_MS);
  }

  #key(window: number): Buffer {
    const known = this.#keys.get(window);
    if (known !== undefined) return known;
    const made = windowKey(this.#secret, 'seal', window);
    this.#keys.set(window, made);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= KEYS_MAX) break;
      this.#keys.delete(oldest);
    }
    return made;
  }

  #heard(bytes: Buffer, from: RemoteInfo): void {
    const second = Math.floor(this.#clock.now() / 1000);
    if (second !== this.#second) this.#messages = 0;
    this.#second = second;
    const opened = bytes.byteLength > MESSAGE_MAX_BYTES || ++this.#messages > DHT_MESSAGES_A_SECOND ? undefined : this.#opened(bytes);
    if (opened === undefined) {
      this.totals.dropped++;
      return;
    }
    this.totals.received += bytes.byteLength;
    try {
      this.emit('message', opened, from);
    } catch {
      // A member of the fleet said what no node says, and the library stumbled over it: it was one message.
      this.totals.dropped++;
    }
  }

  #opened(bytes: Buffer): Buffer | undefined {
    if (bytes.byteLength <= NONCE_BYTES + TAG_BYTES) return undefined;
    for (const offset of WINDOWS) {
      const decipher = createDecipheriv('aes-256-gcm', this.#key(this.#window + offset), bytes.subarray(0, NONCE_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES));
      const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      try {
        decipher.final();
        return plain;
      } catch {
        // Of another hour, or of a stranger.
      }
    }
    return undefined;
  }
}
