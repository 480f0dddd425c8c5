// Strangers on the LAN: so many connections a second to each of `targets` (URLs), in turn without a certificate, with that of another
// fleet (a directory of `shoal enroll`), with bytes that are no TLS, and without a word. Prints what they got when told to end.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import net from 'node:net';
import tls from 'node:tls';

const [other, each, ...targets] = process.argv.slice(2);
const { client, key } = JSON.parse(readFileSync(join(other, 'certificates.json'), 'utf8'));
const foreign = { cert: client, key };
const PATHS = ['/v1/holdings', '/v1/tuf/metadata/timestamp.json', '/metrics', '/v1/instance', '/v1/sites/bed/peers', '/openapi.json'];
const SILENT_MS = 20_000;
const tried = { plain: 0, none: 0, foreign: 0, silent: 0 };
const kinds = Object.keys(tried);
let [turn, answered, refused] = [0, 0, 0];

/** What comes over a connection that could be read as an answer. */
function watch(socket, request) {
  let got = '';
  socket.on('data', (bytes) => { got += bytes.toString('latin1'); });
  socket.on('error', () => { refused++; });
  socket.on('close', () => { if (/^HTTP\/1\.1 2/.test(got)) answered++; });
  if (request !== undefined) socket.write(request);
  setTimeout(() => socket.destroy(), SILENT_MS).unref();
}

const timer = setInterval(() => {
  const target = new URL(targets[turn % targets.length]);
  const kind = kinds[Math.floor(turn / targets.length) % kinds.length];
  const request = `GET ${PATHS[turn % PATHS.length]} HTTP/1.1\r\nHost: ${target.host}\r\nConnection: close\r\n\r\n`;
  turn++;
  tried[kind]++;
  const place = { host: target.hostname, port: Number(target.port) };
  if (kind === 'plain' || kind === 'silent') {
    const socket = net.connect(place, () => { watch(socket, kind === 'plain' ? request : undefined); });
    socket.on('error', () => undefined);
  } else {
    const socket = tls.connect({ ...place, rejectUnauthorized: false, checkServerIdentity: () => undefined, ...(kind === 'foreign' ? foreign : {}) }, () => { watch(socket, request); });
    socket.on('error', () => undefined);
  }
}, 1000 / (Number(each) * targets.length));

process.on('SIGTERM', () => {
  clearInterval(timer);
  console.log(JSON.stringify({ ...tried, answered, refused }));
  process.exit(0);
});
console.log('ready');
