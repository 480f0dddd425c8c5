// Somebody else who needs the line to the site: what a big download of his gets, and how long his small questions take.
// `serve HOST:PORT`, `bulk URL SECONDS` (Mbit/s), `small URL SECONDS` (milliseconds, each on a connection of its own).
import http from 'node:http';

const [what, where = '', seconds = '5'] = process.argv.slice(2);
const PIECE = Buffer.alloc(64 * 1024);
const SMALL_EVERY_MS = 200;

if (what === 'serve') {
  const [host, port] = where.split(':');
  http.createServer((request, response) => {
    if (request.url === '/small') {
      response.end('x'.repeat(200));
      return;
    }
    const more = () => {
      while (response.write(PIECE));
    };
    response.on('drain', more);
    more();
  }).listen(Number(port), host, () => { console.log('ready'); });
} else if (what === 'bulk') {
  let bytes = 0;
  const began = performance.now();
  http.get(`${where}/bulk`, (answer) => {
    answer.on('data', (part) => { bytes += part.length; });
  });
  setTimeout(() => {
    console.log(JSON.stringify({ mbit: (bytes * 8) / (performance.now() - began) / 1000 }));
    process.exit(0);
  }, Number(seconds) * 1000);
} else {
  const took = [];
  const timer = setInterval(() => {
    const began = performance.now();
    http.get(`${where}/small`, { agent: false }, (answer) => {
      answer.resume().on('end', () => { took.push(performance.now() - began); });
    }).on('error', () => undefined);
  }, SMALL_EVERY_MS);
  setTimeout(() => {
    clearInterval(timer);
    took.sort((a, b) => a - b);
    console.log(JSON.stringify({ median: took[took.length >> 1], most: took[Math.floor(took.length * 0.95)], count: took.length }));
    process.exit(0);
  }, Number(seconds) * 1000);
}
