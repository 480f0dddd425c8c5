import type { Server, Socket } from 'node:net';
import { isShoalError } from '../core/errors.ts';
import { SERVE_MAX_CONNECTIONS_PER_DEVICE, SERVE_MAX_CONNECTIONS_PER_HOST, SERVE_MAX_STRANGERS, SERVE_MAX_STRANGERS_PER_NETWORK } from '../core/limits.ts';
import { networkOf } from '../identity/allowance.ts';
import type { Holder } from '../identity/holder.ts';
import { Gate } from './gate.ts';

/**
 * The connections of a listener. Each takes a place of whoever holds it, so that nobody, by holding many, keeps others out;
 * one that is too many is cut at once. A connection on which nothing moves is cut, unless the silence is ours.
 */
export class Connections {
  readonly #places: Gate;
  readonly #strangers = new Gate(SERVE_MAX_STRANGERS, SERVE_MAX_STRANGERS_PER_NETWORK);
  readonly #onCut: () => void;
  /** Requests that are being answered. */
  readonly #working = new WeakMap<Socket, number>();

  /** `onCut` is told of every connection that was too many. */
  constructor(limits: { readonly connections: number; readonly connectionsPerAddress: number }, onCut: () => void) {
    this.#places = new Gate(limits.connections, limits.connectionsPerAddress);
    this.#onCut = onCut;
  }

  /** Somebody of whom nothing but the address is known, where that is all there is to know. */
  address(socket: Socket): void {
    this.#hold(socket, () => this.#places.enter(socket.remoteAddress ?? ''));
  }

  /** A member of the fleet. */
  member(socket: Socket, { device, role }: Holder): void {
    this.#hold(socket, () => this.#places.enter(device, role === 'agent' ? SERVE_MAX_CONNECTIONS_PER_DEVICE : SERVE_MAX_CONNECTIONS_PER_HOST));
  }

  /** Somebody without a certificate who may ask one thing or another. */
  stranger(socket: Socket): void {
    this.#hold(socket, () => this.#strangers.enter(networkOf(socket.remoteAddress ?? '')));
  }

  /** A request came in. Returns the function that says it has been answered. */
  works(socket: Socket): () => void {
    this.#working.set(socket, (this.#working.get(socket) ?? 0) + 1);
    return () => this.#working.set(socket, (this.#working.get(socket) ?? 1) - 1);
  }

  /** Cuts connections on which nothing moved for `ms`: kept ones that nobody uses, and answers that nobody takes. */
  cutSilent(server: Server & { setTimeout(ms: number, run: (socket: Socket) => void): unknown }, ms: number): void {
    server.setTimeout(ms, (socket) => {
      const ours = (this.#working.get(socket) ?? 0) > 0 && socket.writableLength === 0;
      if (!ours) socket.destroy();
    });
  }

  #hold(socket: Socket, enter: () => () => void): void {
    try {
      socket.once('close', enter());
    } catch (error) {
      if (!isShoalError(error, 'BUSY')) throw error;
      this.#onCut();
      socket.destroy();
    }
  }
}
