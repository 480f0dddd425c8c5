import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

export interface Asked {
  readonly path: string;
  readonly head: string;
}

export interface Honest {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What the hostile side can do with a connection. Nothing is checked or repaired on its way out. */
export interface Wire {
  readonly socket: Socket;
  /** A proper answer; `headers` replace those it would have. A header of value undefined is left out. */
  answer(status: number, headers: Readonly<Record<string, string | number | undefined>>, body: Uint8Array): void;
  raw(bytes: string | Uint8Array): void;
  /** Sends pieces of `make` as fast as they are taken, until the other side hangs up. */
  endless(make: () => Uint8Array): void;
  /** Sends `bytes` one at a time, one every `ms`. */
  drip(bytes: Uint8Array, ms: number): void;
}

/** Answers itself and returns true, or false to pass on what the honest host says. */
export type Lie = (asked: Asked, honest: () => Promise<Honest>, wire: Wire) => boolean | Promise<boolean>;

/**
 * A server on raw sockets, in front of an honest host, that does what it is told to with every request: HTTP libraries
 * refuse to send most of what a hostile host sends. It can also go away and come back under its address.
 */
export class HostileServer {
  readonly asked: Asked[] = [];
  readonly #waiting = new Set<() => void>();
  lie: Lie = () => false;
  target: string;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #server: Server | undefined;
  #port = 0;

  constructor(target: string) {
    this.target = target;
  }

  static async start(target: string, lie?: Lie): Promise<HostileServer> {
    const server = new HostileServer(target);
    if (lie !== undefined) server.lie = lie;
    await server.up();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.#port)}`;
  }

  /** Listens, always at the same address. */
  async up(): Promise<void> {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      // The other side hangs up on liars; that is what is wanted.
      socket.on('error', () => socket.destroy());
      void this.#talk(socket);
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** When it is asked for something with `part` in its path, or has been. */
  wasAskedFor(part: string): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.asked.some(({ path }) => path.includes(part))) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Cuts every connection and takes no new ones. */
  async down(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    const closed = new Promise<void>((resolve) => this.#server?.close(() => { resolve(); }));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async close(): Promise<void> {
    await this.down();
    this.#agent.destroy();
  }

  async #talk(socket: Socket): Promise<void> {
    let text = '';
    socket.setEncoding('latin1');
    try {
      for await (const piece of socket) {
        text += piece as string;
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const head = text.slice(0, end);
          text = text.slice(end + 4);
          await this.#answer(socket, { head, path: head.split(' ')[1] ?? '/' });
        }
      }
    } catch {
      // The connection ended in the middle of something: with this server it always does.
      socket.destroy();
    }
  }

  async #answer(socket: Socket, asked: Asked): Promise<void> {
    this.asked.push(asked);
    for (const look of this.#waiting) look();
    const honest = (): Promise<Honest> => this.#honest(asked);
    const wire: Wire = {
      socket,
      raw: (bytes) => void socket.write(bytes),
      answer: (status, headers, body) => {
        const all = { 'content-length': body.byteLength, ...headers };
        const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${String(value)}`]));
        socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 ${String(status)} X\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]));
      },
      endless: (make) => {
        const more = (): void => {
          while (!socket.destroyed && socket.write(make()));
        };
        socket.on('drain', more);
        more();
      },
      drip: (bytes, ms) => {
        let at = 0;
        const timer = setInterval(() => {
          if (socket.destroyed || at >= bytes.byteLength) clearInterval(timer);
          else socket.write(bytes.subarray(at, ++at));
        }, ms);
        this.#timers.add(timer);
      },
    };
    if (await this.lie(asked, honest, wire)) return;
    const { status, headers, body } = await honest();
    if (!socket.destroyed) wire.answer(status, { ...headers, 'transfer-encoding': undefined, connection: undefined, 'content-length': body.byteLength }, body);
  }

  async #honest({ path, head }: Asked): Promise<Honest> {
    const coding = /^accept-encoding: *(.*)$/im.exec(head)?.[1];
    const condition = /^if-none-match: *(.*)$/im.exec(head)?.[1];
    return new Promise((resolve, reject) => {
      const headers = { ...(coding === undefined ? {} : { 'accept-encoding': coding }), ...(condition === undefined ? {} : { 'if-none-match': condition }) };
      const onward = request(`${this.target}${path}`, { agent: this.#agent, headers }, (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('error', reject);
        answer.on('end', () => { resolve({ status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string>, body: Buffer.concat(pieces) }); });
      });
      onward.on('error', reject);
      onward.end();
    });
  }
}
