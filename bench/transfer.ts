// How fast one device fetches, verifies, writes and syncs an artifact from one peer: against nginx to curl, libtorrent and WebTorrent
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { tiers } from '../src/kernel/tiers.ts';

const MiB = 1024 * 1024;
/** The bars: against curl, against either torrent client, and the receiver's peak resident memory in MiB. */
const BAR = { curl: 0.7, torrent: 2, rssMiB: 200 };

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error('npm run bench -- transfer [--size MiB] [--rounds N] [--json] [--check]\n\nAlternating runs, medians. --check fails below the bars.');
  process.exit(0);
}

interface Run {
  readonly seconds: number;
  readonly rssMiB?: number;
  readonly arrivedSeconds?: number;
  readonly cpuSeconds?: number;
}

interface Contender {
  readonly name: string;
  run(): Promise<Run>;
  readonly runs: Run[];
}

const size = Number(values.size) * MiB;
const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-transfer-'));
const served = join(folder, 'served');
mkdirSync(served);
const input = join(served, 'artifact');
const children: ChildProcess[] = [];
const here = (name: string): string => join(import.meta.dirname, 'transfer', name);

function writeRandom(): void {
  const file = openSync(input, 'w');
  const block = Buffer.alloc(MiB);
  for (let left = size; left > 0; left -= MiB) writeSync(file, randomFillSync(block));
  closeSync(file);
}

/** Starts a server that says in one JSON line where it is, and ends when its standard input does. */
async function serve(command: string, args: readonly string[]): Promise<{ readonly said: Record<string, unknown>; readonly child: ChildProcess }> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { said: JSON.parse(line) as Record<string, unknown>, child };
}

async function measure(command: string, args: readonly string[]): Promise<Run> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let out = '';
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${command} ${args[0] ?? ''} failed`);
  return JSON.parse(out) as Run;
}

function fresh(): string {
  const out = join(folder, 'out');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  spawnSync('sync');
  return out;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function shoal(): Promise<{ readonly contender: Contender; readonly senderRss: () => Promise<number> }> {
  const { said, child } = await serve(process.execPath, [here('peer.ts'), input]);
  const run = (): Promise<Run> => measure(process.execPath, [here('fetch.ts'), String(said.url), JSON.stringify(said.record), join(fresh(), 'artifact')]);
  const senderRss = async (): Promise<number> => {
    const lines = createInterface({ input: child.stdout ?? process.stdin });
    child.stdin?.end();
    const [line] = (await once(lines, 'line')) as [string];
    return (JSON.parse(line) as { readonly rssMiB: number }).rssMiB;
  };
  return { contender: { name: 'shoal', run, runs: [] }, senderRss };
}

async function curl(): Promise<Contender | undefined> {
  if (spawnSync('nginx', ['-v']).status !== 0 || spawnSync('curl', ['-V']).status !== 0) return undefined;
  const port = await freePort();
  const config = join(folder, 'nginx.conf');
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/temp_${name};`).join(' ');
  const site = `access_log off; sendfile on; tcp_nopush on; ${temp} server { listen 127.0.0.1:${String(port)}; root ${served}; }`;
  // The workers run as somebody else when the master is root: the folder is theirs to read.
  writeFileSync(config, `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log; events {} http { ${site} }`);
  children.push(spawn('nginx', ['-c', config], { stdio: 'inherit' }));
  const run = async (): Promise<Run> => {
    const out = join(fresh(), 'artifact');
    const start = performance.now();
    const got = spawnSync('curl', ['-sf', '--retry', '20', '--retry-connrefused', '--retry-delay', '1', '-o', out, `http://127.0.0.1:${String(port)}/artifact`]);
    if (got.status !== 0) throw new Error(`curl failed: ${String(got.stderr)}`);
    spawnSync('sync', [out]);
    return Promise.resolve({ seconds: (performance.now() - start) / 1000 });
  };
  return { name: 'nginx→curl', run, runs: [] };
}

async function libtorrent(): Promise<Contender | undefined> {
  const python = '/usr/bin/python3';
  if (spawnSync(python, ['-c', 'import libtorrent']).status !== 0) return undefined;
  const torrent = join(folder, 'torrent');
  if (spawnSync(python, [here('torrent.py'), 'make', input, torrent]).status !== 0) throw new Error('no torrent was made');
  const { said } = await serve(python, [here('torrent.py'), 'seed', input, torrent]);
  return { name: 'libtorrent', run: () => measure(python, [here('torrent.py'), 'fetch', fresh(), torrent, String(said.port)]), runs: [] };
}

async function webtorrent(): Promise<Contender> {
  const { said } = await serve(process.execPath, [here('webtorrent.mjs'), 'seed', input]);
  // The torrent is larger than one argument may be (128 KiB) only beyond some 1.5 GiB of artifact.
  return { name: 'webtorrent', run: () => measure(process.execPath, [here('webtorrent.mjs'), 'fetch', fresh(), String(said.torrent), String(said.port)]), runs: [] };
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? NaN;
const rate = ({ runs }: Contender): number => size / 1e6 / median(runs.map(({ seconds }) => seconds));

async function main(): Promise<void> {
  writeRandom();
  const ours = await shoal();
  const contenders = [ours.contender, await curl(), await libtorrent(), await webtorrent()].filter((each) => each !== undefined);
  for (let round = 0; round < Number(values.rounds); round++) for (const each of contenders) each.runs.push(await each.run());
  const own = rate(ours.contender);
  const rows = contenders.map((each) => ({
    name: each.name,
    'MB/s': Math.round(rate(each)),
    'shoal is ×': Math.round((own / rate(each)) * 100) / 100,
    'receiver RSS MiB': Math.max(0, ...each.runs.map(({ rssMiB }) => rssMiB ?? 0)) || undefined,
  }));
  const arrived = median(ours.contender.runs.map(({ arrivedSeconds }) => arrivedSeconds ?? NaN));
  const cpu = median(ours.contender.runs.map(({ cpuSeconds }) => cpuSeconds ?? NaN));
  const senderRss = await ours.senderRss();
  console.error(`${values.size} MiB of random bytes, new file, synced; ${values.rounds} alternating rounds, medians`);
  console.table(rows);
  console.error(`shoal: all bytes in place after ${arrived.toFixed(2)} s, then read back, synced and renamed; receiver ${cpu.toFixed(2)} processor seconds; sender RSS ${String(senderRss)} MiB`);
  const failures = rows.flatMap((row) => {
    if (row.name === 'shoal') return (row['receiver RSS MiB'] ?? 0) < BAR.rssMiB ? [] : [`the receiver took ${String(row['receiver RSS MiB'])} MiB`];
    const bar = row.name === 'nginx→curl' ? BAR.curl : BAR.torrent;
    return row['shoal is ×'] >= bar ? [] : [`${String(row['shoal is ×'])} × ${row.name}, not ${String(bar)}`];
  });
  if (contenders.length < 4) failures.push('nginx-light, curl or python3-libtorrent is not installed');
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ mib: Number(values.size), rows, arrivedSeconds: arrived, senderRssMiB: senderRss, tiers, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

try {
  await main();
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
