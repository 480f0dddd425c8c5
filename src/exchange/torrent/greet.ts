import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import { TORRENT_GREETING_MS } from '../../core/limits.ts';
import { GREETING_BYTES, decodeGreeting, encodeGreeting, mayBeGreeting } from './messages.ts';
import type { Greeting } from './messages.ts';
import type { TorrentAddress } from './types.ts';

/** A connection on which both sides have said who they are. Nothing reads it yet. */
export interface Greeted {
  readonly socket: Socket;
  readonly greeting: Greeting;
  /** What came after the greeting. */
  readonly rest: Uint8Array;
}

/** Waits for a greeting. Undefined, and the socket destroyed, when none comes, or something else. */
export function hearGreeting(socket: Socket, clock: Clock): Promise<Greeted | undefined> {
  return new Promise((resolve) => {
    let got = Buffer.alloc(0);
    const settle = (greeted: Greeted | undefined): void => {
      cancel();
      socket.off('data', take);
      socket.off('close', end);
      if (greeted === undefined) socket.destroy();
      else socket.pause();
      resolve(greeted);
    };
    const end = (): void => { settle(undefined); };
    const take = (bytes: Buffer): void => {
      got = Buffer.concat([got, bytes]);
      if (!mayBeGreeting(got)) end();
      if (got.byteLength < GREETING_BYTES) return;
      const greeting = decodeGreeting(got);
      settle(greeting === undefined ? undefined : { socket, greeting, rest: got.subarray(GREETING_BYTES) });
    };
    const cancel = clock.after(TORRENT_GREETING_MS, end, 'background');
    socket.on('error', () => undefined);
    socket.once('close', end);
    socket.on('data', take);
  });
}

/** Connects and greets. Undefined when nobody of that torrent answers there. */
export async function dial({ host, port }: TorrentAddress, greeting: Greeting, clock: Clock, signal: AbortSignal): Promise<Greeted | undefined> {
  const socket = connect({ host, port });
  const stop = (): void => { socket.destroy(); };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  socket.once('connect', () => socket.write(encodeGreeting(greeting)));
  const greeted = await hearGreeting(socket, clock);
  signal.removeEventListener('abort', stop);
  if (greeted === undefined || (greeted.greeting.infoHash === greeting.infoHash && greeted.greeting.peerId !== greeting.peerId)) return greeted;
  socket.destroy();
  return undefined;
}
