import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A port of 127.0.0.1 for whoever listens there in a moment, or goes away from it and comes back. Not one of those that the
 * kernel gives to connections that set out (from 32768 on, by default): one of these may have it by then.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => { resolve(false); }).listen(port, '127.0.0.1', () => { resolve(true); });
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
