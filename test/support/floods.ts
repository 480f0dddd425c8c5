import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { API, wire } from '../../src/core/wire.ts';

/** Where floods come from. */
export const HOSTILE = '127.0.0.66';

async function connection(url: string): Promise<net.Socket> {
  const socket = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1', localAddress: HOSTILE });
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect').catch(() => undefined);
  return socket;
}

const request = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
const closed = async (socket: net.Socket): Promise<void> => { if (!socket.destroyed) await once(socket, 'close').catch(() => undefined); };

/** What a hostile address does, by name. Each is run by many at a time. */
export const FLOODS: Readonly<Record<string, readonly [lanes: number, (url: string, pagePath: string) => () => Promise<void>]>> = {
  'pipelined requests': [32, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    for (let turn = 0; turn < 20 && !socket.destroyed; turn++) if (!socket.write(request(`${API}/holdings`).repeat(500))) await Promise.race([once(socket, 'drain'), closed(socket)]).catch(() => undefined);
    socket.end(request(`${API}/holdings`, 'Connection: close\r\n'));
    await closed(socket);
  }],
  'requests whose answers nobody reads': [64, (url, pagePath) => async () => {
    const socket = await connection(url);
    socket.pause();
    for (let turn = 0; turn < 5 && !socket.destroyed; turn++) socket.write(request(pagePath).repeat(16));
    await Promise.race([closed(socket), delay(500)]);
    socket.destroy();
  }],
  'new connections, one request each': [32, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    socket.write(request(`${API}/health`, 'Connection: close\r\n'));
    await closed(socket);
  }],
  'connections that say nothing': [8, (url) => async () => {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => connection(url)));
    await Promise.race(sockets.map(closed));
    await Promise.all(sockets.map(closed));
  }],
  'heads without end': [32, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    socket.write(`GET / HTTP/1.1\r\n${'x: y\r\n'.repeat(20_000)}`);
    await closed(socket);
  }],
  'header names that fall on one place': [32, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    // Integer-like names and ones of one length and beginning, as many as a head can have.
    socket.write(request(`${API}/health`, `Connection: close\r\n${Array.from({ length: 1_000 }, (_, at) => `x${String(at).padStart(4, '0')}: ${String(at)}\r\n`).join('')}`));
    await closed(socket);
  }],
  'bodies that do not come': [64, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    socket.write(`PUT ${wire.peers('default')}/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`);
    await closed(socket);
  }],
  'bodies without end': [32, (url) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    socket.write(`PUT ${wire.peers('default')}/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const piece = `10000\r\n${'['.repeat(65_536)}\r\n`;
    for (let turn = 0; turn < 50 && !socket.destroyed; turn++) socket.write(piece);
    await closed(socket);
  }],
  'paths and sets that are long to look at': [32, (url, pagePath) => async () => {
    const socket = await connection(url);
    socket.on('data', () => undefined);
    const span = pagePath.replace(/pages\/.*/, 'spans/0/');
    const set = Array.from({ length: 1_000 }, (_, at) => String(at * 2)).join(',');
    socket.write([span + set, span + '0-'.repeat(3_000), `/${'a/'.repeat(6_000)}`, `${API}/tuf/targets/${'a.'.repeat(200)}`, `${API}/tuf/targets/${'a/'.repeat(250)}..`].map((path) => request(path)).join('') + request('/', 'Connection: close\r\n'));
    await closed(socket);
  }],
};
