import { EventEmitter } from 'node:events';
import type { Server } from 'node:net';
import { expect, it } from 'vitest';
import { HANDSHAKES_PER_NETWORK, HANDSHAKE_BURST } from '../../src/core/limits.ts';
import { Handshakes } from '../../src/serve/handshakes.ts';
import { ManualClock } from '../support/manual-clock.ts';

it('makes nothing of TLS for connections that are too many', () => {
  const server = new EventEmitter();
  let handshakes = 0;
  server.on('connection', () => { handshakes++; });
  new Handshakes(new ManualClock()).watch(server as Server);
  const sockets = Array.from({ length: 1_000 }, (_, at) => Object.assign(new EventEmitter(), { remoteAddress: '192.0.2.1', remotePort: at + 1, destroyed: false, destroy() { this.destroyed = true; } }));
  for (const socket of sockets) server.emit('connection', socket);
  expect(handshakes).toBe(Math.min(HANDSHAKES_PER_NETWORK, HANDSHAKE_BURST));
  expect(sockets.filter(({ destroyed }) => destroyed)).toHaveLength(1_000 - handshakes);
});
