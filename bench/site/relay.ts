import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** Bytes of payload that crossed, by direction, and how many connections were opened. */
export interface Crossed {
  readonly up: number;
  readonly down: number;
  readonly connections: number;
}

/** Opening, acknowledging and closing a connection: some ten packets of TCP and IP heads that no payload tells of. */
const CONNECTION_BYTES = 500;
/** Heads of a packet, for every 1,448 bytes of payload and for every second acknowledgement. */
const HEAD_SHARE = (52 + 26) / 1_448;

/** The line between a site and its origin: passes on every byte, and counts it. */
export class Relay {
  readonly url: string;
  readonly #server: net.Server;
  readonly #sockets: Set<Socket>;
  readonly #counts: { up: number; down: number; connections: number };

  private constructor(url: string, server: net.Server, sockets: Set<Socket>, counts: { up: number; down: number; connections: number }) {
    this.url = url;
    this.#server = server;
    this.#sockets = sockets;
    this.#counts = counts;
  }

  static async start(target: string): Promise<Relay> {
    const counts = { up: 0, down: 0, connections: 0 };
    const sockets = new Set<Socket>();
    const { hostname, port } = new URL(target);
    const server = net.createServer((near) => {
      counts.connections++;
      const far = net.connect(Number(port), hostname);
      for (const [from, to, direction] of [[near, far, 'up'], [far, near, 'down']] as const) {
        sockets.add(from);
        from.on('data', (bytes) => (counts[direction] += bytes.byteLength));
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Relay(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, server, sockets, counts);
  }

  get crossed(): Crossed {
    return { ...this.#counts };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function since(now: Crossed, before: Crossed): Crossed {
  return { up: now.up - before.up, down: now.down - before.down, connections: now.connections - before.connections };
}

/** What an interface would have counted: payload, and the heads of packets by estimate. */
export function onTheInterface({ up, down, connections }: Crossed): number {
  return Math.round((up + down) * (1 + HEAD_SHARE) + connections * CONNECTION_BYTES);
}
