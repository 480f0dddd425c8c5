import type { Server, Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import {
  HANDSHAKES_MAX,
  HANDSHAKES_PER_NETWORK,
  HANDSHAKES_PER_SECOND,
  HANDSHAKE_BURST,
  MEMBER_HANDSHAKES_PER_SECOND,
  MEMBER_HANDSHAKE_BURST,
} from '../core/limits.ts';
import { Allowance, networkOf } from '../identity/allowance.ts';

/** Networks that members came from lately: how long that is remembered, and of how many. */
const KNOWN_MS = 600_000;
const KNOWN_MAX = 4_096;

/**
 * A handshake costs a listener a millisecond and a stranger nothing. So many may be under way, in all and from one network,
 * and so many may begin in a second; networks that members of the fleet come from may more, and have places of their own.
 */
export class Handshakes {
  readonly #clock: Clock;
  readonly #pending = new Map<string, number>();
  #strangers = 0;
  readonly #few: Allowance;
  readonly #many: Allowance;
  readonly #known = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#few = new Allowance(HANDSHAKE_BURST, HANDSHAKES_PER_SECOND, () => clock.now());
    this.#many = new Allowance(MEMBER_HANDSHAKE_BURST, MEMBER_HANDSHAKES_PER_SECOND, () => clock.now());
  }

  /** Looks at every connection that a TLS server takes; cuts those that are too many, before they cost anything. */
  watch(server: Server): void {
    const open = new Map<string, () => void>();
    // Nothing of TLS is made for a connection that is cut at once: it would cost a hundred kilobytes until the next collection.
    const handlers = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
    server.removeAllListeners('connection').on('connection', (socket: Socket) => {
      const leave = this.#enter(networkOf(socket.remoteAddress ?? ''));
      if (leave === undefined) {
        socket.destroy();
        return;
      }
      const name = `${socket.remoteAddress ?? ''} ${String(socket.remotePort)}`;
      const end = (): void => {
        open.delete(name);
        leave();
      };
      open.set(name, end);
      socket.once('close', end);
      for (const handle of handlers) handle.call(server, socket);
    });
    server.prependListener('secureConnection', (socket: Socket) => {
      open.get(`${socket.remoteAddress ?? ''} ${String(socket.remotePort)}`)?.();
    });
  }

  /** A member came from there. */
  known(address: string): void {
    const network = networkOf(address);
    this.#known.delete(network);
    this.#known.set(network, this.#clock.now() + KNOWN_MS);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= KNOWN_MAX) break;
      this.#known.delete(oldest);
    }
  }

  #enter(network: string): (() => void) | undefined {
    const known = (this.#known.get(network) ?? -Infinity) > this.#clock.now();
    const mine = this.#pending.get(network) ?? 0;
    if (known) {
      if (mine >= HANDSHAKES_MAX || !this.#many.take(network)) return undefined;
    } else if (this.#strangers >= HANDSHAKES_MAX || mine >= HANDSHAKES_PER_NETWORK || !this.#few.take(network)) return undefined;
    if (!known) this.#strangers++;
    this.#pending.set(network, mine + 1);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      if (!known) this.#strangers--;
      const left = (this.#pending.get(network) ?? 1) - 1;
      if (left === 0) this.#pending.delete(network);
      else this.#pending.set(network, left);
    };
  }
}
