// A neighbour that lies: passes everything on to the agent behind it, but changes content, and says it has what it has not.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { listen: { type: 'string', default: '' }, agent: { type: 'string', default: '' }, identity: { type: 'string' }, boast: { type: 'boolean', default: false } } });
const [host = '', port = ''] = values.listen.split(':');
const agent = new URL(values.agent);

interface Certificates {
  readonly key: string;
  readonly client: string;
  readonly server: string;
  readonly ca: string;
}

/** A liar among members of a fleet is one of them: it has the certificates of the device that it stands before. */
const certificates = values.identity === undefined ? undefined : (JSON.parse(readFileSync(join(values.identity, 'certificates.json'), 'utf8')) as Certificates);
const tls = certificates === undefined ? undefined : { key: certificates.key, ca: certificates.ca, minVersion: 'TLSv1.3', ALPNProtocols: ['http/1.1'] } as const;
/** Connections to the agent behind are kept: a handshake for each request would be most of its work. */
const kept = new https.Agent({ keepAlive: true, maxSockets: 32 });
const ask = (options: http.RequestOptions, take: (answer: http.IncomingMessage) => void): http.ClientRequest =>
  tls === undefined ? http.request({ ...options, agent: false }, take) : https.request({ ...options, ...tls, cert: certificates?.client, checkServerIdentity: () => undefined, agent: kept }, take);

/** Content of any form: spans, index pages, map pages and payloads of deltas. */
const CONTENT = /^\/v1\/content\//;
const HOLDING = /^\/v1\/holdings\/[^/]+\/[^/]+(?:\/deltas\/[^/]+)?$/;

function changed(path: string, body: Buffer): Buffer {
  if (body.byteLength === 0) return body;
  if (CONTENT.test(path)) body[Math.floor(body.byteLength / 2)] = (body[Math.floor(body.byteLength / 2)] ?? 0) ^ 1;
  return body;
}

/** All bits that the artifact has. */
function everything(body: Buffer, bits: number): Buffer {
  for (let bit = 0; bit < bits; bit++) body[bit >> 3] = (body[bit >> 3] ?? 0) | (1 << (bit & 7));
  return body;
}

const pass: http.RequestListener = (request, response) => {
  const path = request.url ?? '/';
  const passed = ask({ host: agent.hostname, port: agent.port, path, method: request.method, headers: request.headers }, (answer) => {
    const parts: Buffer[] = [];
    answer.on('data', (part: Buffer) => parts.push(part));
    answer.on('end', () => {
      const bits = Number(answer.headers['shoal-spans'] ?? answer.headers['shoal-segments'] ?? 0);
      const body = Buffer.concat(parts);
      const boasts = values.boast && answer.statusCode === 200 && HOLDING.test(path);
      const sent = boasts ? everything(body, bits) : changed(path, body);
      const { 'transfer-encoding': _, ...headers } = answer.headers;
      response.writeHead(answer.statusCode ?? 502, { ...headers, ...(boasts && 'shoal-spans' in headers ? { 'shoal-working': '1' } : {}), 'content-length': sent.byteLength }).end(sent);
    });
  });
  passed.on('error', () => response.destroy());
  request.pipe(passed);
};

const server = tls === undefined ? http.createServer(pass) : https.createServer({ ...tls, cert: certificates?.server, requestCert: true }, pass);
server.listen(Number(port), host, () => {
  console.log(JSON.stringify({ event: 'ready', url: `${tls === undefined ? 'http' : 'https'}://${values.listen}` }));
});
