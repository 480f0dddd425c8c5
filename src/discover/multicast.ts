import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { decode, encode } from 'dns-packet';
import type { DecodedPacket, Packet } from 'dns-packet';
import type { Clock } from '../core/clock.ts';
import { ShoalError, messageOf } from '../core/errors.ts';

/** Group and port of multicast DNS (RFC 6762, 3). */
const GROUP = '224.0.0.251';
const MDNS_PORT = 5353;
/** RFC 6762, 17: no message is longer than an Ethernet jumbo frame. */
const MESSAGE_MAX_BYTES = 9_000;
const HEADER_BYTES = 12;
/** Questions and records in a message that is looked at. The decoder makes room for as many as a header claims. */
const RECORDS_MAX = 256;
/** Messages decoded in a second: as many hosts that are switched on together, and more. What is beyond is not heard: it is said again. */
const MESSAGES_A_SECOND = 500;
/** And milliseconds that this may take: names in a message may point at each other, thousands of steps for each. */
const WORK_MS_A_SECOND = 100;
/** Interfaces come and go. */
const MEMBERSHIP_MS = 30_000;

export interface MulticastOptions {
  /** Address of the interface to speak on. Default: all that have an IPv4 address. */
  readonly interface?: string | undefined;
  readonly port?: number | undefined;
  readonly clock: Clock;
  readonly onMessage: (message: DecodedPacket, sender: string) => void;
}

/** A socket in the group of multicast DNS that bounds what strangers can make it do. */
export class MulticastSocket {
  readonly #options: MulticastOptions;
  readonly #socket: Socket;
  readonly #port: number;
  readonly #joined = new Set<string>();
  #second = 0;
  #messages = 0;
  #worked = 0;
  #closed = false;
  #cancel: () => void = () => undefined;

  /** Throws `DISCOVERY` when the port, or the interface that was named, cannot be had. */
  static async open(options: MulticastOptions): Promise<MulticastSocket> {
    const multicast = new MulticastSocket(options);
    try {
      await multicast.#bind();
    } catch (error) {
      await multicast.close();
      throw error;
    }
    return multicast;
  }

  private constructor(options: MulticastOptions) {
    this.#options = options;
    this.#port = options.port ?? MDNS_PORT;
    this.#socket = createSocket({ type: 'udp4', reuseAddr: true });
  }

  /** Sends to everybody. What cannot be sent now is said again later. */
  send(message: Packet): Promise<void> {
    // Somebody may still ask when it has ended: what it would say is of no use to anybody.
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.send(encode(message), this.#port, GROUP, () => { resolve(); });
    });
  }

  close(): Promise<void> {
    this.#cancel();
    this.#closed = true;
    return new Promise((resolve) => {
      this.#socket.close(() => { resolve(); });
    });
  }

  async #bind(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('error', (cause) => {
        reject(new ShoalError('DISCOVERY', `multicast DNS cannot be used: ${messageOf(cause)}`, {
          cause,
          ids: { port: this.#port },
          hint: 'Another program may hold the UDP port for itself. Without discovery, name neighbours with --peer.',
        }));
      });
      // On all addresses: bound to one of them, a socket would not hear what is sent to the group.
      this.#socket.bind(this.#port, resolve);
    });
    // An interface that went away, a full buffer: nothing that ends discovery.
    this.#socket.on('error', () => undefined);
    this.#socket.on('message', (bytes, { address }) => {
      this.#heard(bytes, address);
    });
    this.#socket.setMulticastTTL(255);
    this.#socket.setMulticastLoopback(true);
    if (this.#options.interface !== undefined) this.#speakOn(this.#options.interface);
    this.#join();
  }

  #speakOn(address: string): void {
    try {
      this.#socket.setMulticastInterface(address);
    } catch (cause) {
      throw new ShoalError('DISCOVERY', `multicast DNS cannot use ${address}: no network interface of this machine has that address`, {
        cause,
        ids: { interface: address },
        hint: 'Name an address of this machine, or none for all its interfaces.',
      });
    }
  }

  #join(): void {
    const { interface: only, clock } = this.#options;
    const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []).filter(({ family }) => family === 'IPv4').map(({ address }) => address);
    for (const address of only === undefined ? all : [only]) {
      if (this.#joined.has(address)) continue;
      try {
        this.#socket.addMembership(GROUP, address);
        this.#joined.add(address);
      } catch {
        // No multicast there.
      }
    }
    this.#cancel = clock.after(MEMBERSHIP_MS, () => {
      this.#join();
    });
  }

  #heard(bytes: Buffer, sender: string): void {
    const { clock, onMessage } = this.#options;
    const began = clock.now();
    const second = Math.floor(began / 1000);
    if (second !== this.#second) this.#messages = this.#worked = 0;
    this.#second = second;
    if (bytes.byteLength < HEADER_BYTES || bytes.byteLength > MESSAGE_MAX_BYTES) return;
    const claimed = bytes.readUInt16BE(4) + bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
    if (claimed > RECORDS_MAX || this.#worked > WORK_MS_A_SECOND || ++this.#messages > MESSAGES_A_SECOND) return;
    let message: DecodedPacket | undefined;
    try {
      message = decode(bytes);
    } catch {
      // Nothing that anybody would send.
    }
    if (message !== undefined) onMessage(message, sender);
    this.#worked += clock.now() - began;
  }
}
