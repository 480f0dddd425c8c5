// A neighbour that lies: passes everything on to the agent behind it, but changes content, and says it has what it has not.
import http from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { listen: { type: 'string', default: '' }, agent: { type: 'string', default: '' }, boast: { type: 'boolean', default: false } } });
const [host = '', port = ''] = values.listen.split(':');
const agent = new URL(values.agent);

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

http.createServer((request, response) => {
  const path = request.url ?? '/';
  const passed = http.request({ host: agent.hostname, port: agent.port, path, method: request.method, headers: request.headers, agent: false }, (answer) => {
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
}).listen(Number(port), host, () => {
  console.log(JSON.stringify({ event: 'ready', url: `http://${values.listen}` }));
});
