import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isShoalError } from '../core/errors.ts';
import { SERVE_MAX_CONNECTIONS_PER_DEVICE, SERVE_MAX_CONNECTIONS_PER_HOST, SERVE_MAX_PIPELINED, SERVE_MAX_STRANGERS, SERVE_MAX_STRANGERS_PER_NETWORK } from '../core/limits.ts';
import { networkOf } from '../identity/allowance.ts';
import type { Holder } from '../identity/holder.ts';
import { Gate } from './gate.ts';

/**
 * The connections of a listener. Each takes a place of whoever holds it, so that nobody, by holding many, keeps others out;
 * one that is too many is cut at once. A connection on which nothing moves is cut, unless the silence is ours; so is one
 * that sends many requests ahead.
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

  /** Looks at every request before `server` does; cuts connections on which nothing moved for `silentMs`. */
  watch(server: Server, silentMs: number): void {
    const handlers = server.listeners('request') as RequestListener[];
    server.removeAllListeners('request').on('request', (request: IncomingMessage, response: ServerResponse) => {
      if (this.#takes(request.socket, response)) for (const handle of handlers) handle(request, response);
    });
    // Kept connections that nobody uses, and answers that nobody takes.
    server.setTimeout(silentMs, (socket) => {
      const ours = (this.#working.get(socket) ?? 0) > 0 && socket.writableLength === 0;
      if (!ours) socket.destroy();
    });
  }

  /** Notes that a request is being answered. Not, and cuts the connection, where it is one too many. */
  #takes(socket: Socket, response: ServerResponse): boolean {
    const working = this.#working.get(socket) ?? 0;
    if (socket.destroyed) return false;
    if (working >= SERVE_MAX_PIPELINED) {
      this.#onCut();
      stopParsing(socket);
      socket.destroy();
      return false;
    }
    this.#working.set(socket, working + 1);
    response.once('close', () => this.#working.set(socket, (this.#working.get(socket) ?? 1) - 1));
    return true;
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

/** What Node's parser takes for the answer "the rest of this is another protocol". */
const NOT_HTTP_ANY_MORE = 2;

/**
 * Keeps what already came on a connection from being parsed. Left alone, Node makes a request and a response of all that one
 * read brought, a thousand and more, before it looks at whether the connection is still there: megabytes and a tenth of a
 * second for each connection of a flood. `parser` and `onIncoming` are Node's own, and not documented: without them it is
 * only slower.
 */
function stopParsing(socket: Socket & { readonly parser?: { onIncoming?: unknown } | null }): void {
  if (typeof socket.parser?.onIncoming === 'function') socket.parser.onIncoming = () => NOT_HTTP_ANY_MORE;
}
