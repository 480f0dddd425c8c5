import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** A wire between a client and a server that can be cut, and bent in the direction of the server. */
export class TcpProxy {
  /** Bytes that went to the server. */
  sent = 0;
  /** Bytes that came from it. */
  received = 0;
  /** What goes on in place of what came; undefined cuts the connection. */
  bend: (bytes: Buffer) => Buffer | undefined = (bytes) => bytes;
  /** While true, connections are refused. */
  down = false;
  readonly #sockets = new Set<Socket>();
  #target = { host: '127.0.0.1', port: 0 };
  readonly #server = createServer((client) => {
    if (this.down) {
      client.destroy();
      return;
    }
    const server = connect(this.#target);
    for (const each of [client, server]) {
      this.#sockets.add(each);
      each.on('error', () => each.destroy());
      each.on('close', () => {
        this.#sockets.delete(each);
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', (bytes: Buffer) => {
      const on = this.bend(bytes);
      if (on === undefined) {
        client.destroy();
        return;
      }
      this.sent += on.byteLength;
      server.write(on);
    });
    server.on('data', (bytes: Buffer) => { this.received += bytes.byteLength; });
    server.pipe(client);
  });

  async start(url: string): Promise<string> {
    const { hostname, port } = new URL(url);
    this.#target = { host: hostname, port: Number(port) };
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
