import { createServer, request } from 'node:http';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Passing {
  readonly path: string;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A real server in front of a real server that can change, cut, hold or count what passes. */
export class TamperingProxy {
  readonly seen: string[] = [];
  /** Bytes of request and response heads and bodies that passed. */
  bytes = 0;
  /** Answers by itself when it returns true. */
  tamper: (passing: Passing, response: ServerResponse) => boolean | Promise<boolean> = () => false;
  readonly #server = createServer((incoming, response) => {
    const path = incoming.url ?? '/';
    this.seen.push(path);
    const requestBytes = incoming.rawHeaders.reduce((sum, part) => sum + part.length + 2, path.length + 16);
    const onward = request(`${this.#target}${path}`, { method: incoming.method ?? 'GET', headers: incoming.headers }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.on('end', () => {
        const body = Buffer.concat(pieces);
        this.bytes += requestBytes + answer.rawHeaders.reduce((sum, part) => sum + part.length + 2, 20) + body.byteLength;
        const passing = { path, status: answer.statusCode ?? 0, headers: answer.headers, body };
        void Promise.resolve(this.tamper(passing, response)).then((done) => {
          if (!done) response.writeHead(passing.status, passing.headers).end(body);
        });
      });
    });
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
  });
  #target = '';

  async start(target: string): Promise<string> {
    this.#target = target;
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
