// How fast one device fetches, verifies, writes and syncs an artifact from one peer: against nginx to curl, libtorrent and WebTorrent
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { tiers } from '../src/kernel/tiers.ts';
import { compile } from './compiled.ts';

const MiB = 1024 * 1024;
/** The bars: against curl, against either torrent client, the receiver's peak resident memory, and that for a larger artifact against it. */
const BAR = { curl: 0.7, torrent: 2, rssMiB: 200, growth: 1.1 };
/** The artifact by which memory is seen not to grow is so many times as large. */
const LARGER = 4;

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '5' },
    tls: { type: 'boolean', default: false },
    against: { type: 'string', default: 'curl,libtorrent,webtorrent' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error(`npm run bench -- transfer [--size MiB] [--rounds N] [--against curl,libtorrent,webtorrent] [--tls] [--json] [--check]

Alternating runs, medians, over loopback, every contender to a new file that is synced. Shoal is compiled first and runs as an
installed copy does. Memory is measured once more with an artifact ${String(LARGER)} times as large. With --tls Shoal, and Shoal alone, talks mutual TLS. --check exits 1 below the bars.`);
  process.exit(0);
}

interface Run {
  readonly seconds: number;
  readonly rssMiB?: number;
  readonly arrivedSeconds?: number;
  readonly cpuSeconds?: number;
  readonly syncs?: number;
}

interface Contender {
  readonly name: string;
  readonly bar: number | undefined;
  readonly how: string;
  run(): Promise<Run>;
  readonly runs: Run[];
}

interface Peer {
  fetch(): Promise<Run>;
  /** Ends it. */
  end(): Promise<{ readonly rssMiB: number; readonly cpuSeconds: number }>;
}

const size = Number(values.size) * MiB;
const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-transfer-'));
const served = join(folder, 'served');
mkdirSync(served);
const input = join(served, 'artifact');
const children: ChildProcess[] = [];
const here = (name: string): string => join(import.meta.dirname, 'transfer', name);

/** Freshly written, so in the page cache: no contender waits for the disk to read. */
function writeRandom(path: string, bytes: number): void {
  const file = openSync(path, 'w');
  const block = Buffer.alloc(MiB);
  for (let left = bytes; left > 0; left -= MiB) writeSync(file, randomFillSync(block));
  closeSync(file);
}

/** Starts a server that says in one JSON line where it is, and ends when its standard input does. */
async function serve(command: string, args: readonly string[]): Promise<{ readonly said: Record<string, unknown>; readonly child: ChildProcess }> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { said: JSON.parse(line) as Record<string, unknown>, child };
}

async function measure<T = Run>(command: string, args: readonly string[]): Promise<T> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let out = '';
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${command} ${args[0] ?? ''} failed`);
  return JSON.parse(out) as T;
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

/** A device that has `path`. What publishing it took is another process's memory. */
async function shoalPeer(path: string): Promise<Peer> {
  const { record, spans } = await measure<{ record: unknown; spans: number }>(process.execPath, [here('publish.mjs'), path, `${path}.pages`]);
  const json = JSON.stringify(record);
  const { said, child } = await serve(process.execPath, [here('peer.mjs'), path, `${path}.pages`, json, String(spans)]);
  return {
    fetch: () => measure(process.execPath, [here('fetch.mjs'), String(said.url), json, join(fresh(), 'artifact')]),
    end: async () => {
      const lines = createInterface({ input: child.stdout ?? process.stdin });
      child.stdin?.end();
      const [line] = (await once(lines, 'line')) as [string];
      return JSON.parse(line) as { rssMiB: number; cpuSeconds: number };
    },
  };
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
  return { name: 'nginx→curl', bar: BAR.curl, how: 'sendfile on, one worker; verifies nothing; one sync at the end; starting curl is in its time', run, runs: [] };
}

async function libtorrent(): Promise<Contender | undefined> {
  const python = '/usr/bin/python3';
  if (spawnSync(python, ['-c', 'import libtorrent']).status !== 0) return undefined;
  const torrent = join(folder, 'torrent');
  if (spawnSync(python, [here('torrent.py'), 'make', input, torrent]).status !== 0) throw new Error('no torrent was made');
  const { said } = await serve(python, [here('torrent.py'), 'seed', input, torrent]);
  const run = (): Promise<Run> => measure(python, [here('torrent.py'), 'fetch', fresh(), torrent, String(said.port)]);
  return { name: 'libtorrent', bar: BAR.torrent, how: 'TCP, no encryption, piece size of its own choice; verifies on receipt; one sync at the end', run, runs: [] };
}

async function webtorrent(): Promise<Contender> {
  const { said } = await serve(process.execPath, [here('webtorrent.mjs'), 'seed', input]);
  // The torrent is larger than one argument may be (128 KiB) only beyond some 1.5 GiB of artifact.
  const run = (): Promise<Run> => measure(process.execPath, [here('webtorrent.mjs'), 'fetch', fresh(), String(said.torrent), String(said.port)]);
  return { name: 'webtorrent', bar: BAR.torrent, how: 'TCP; verifies on receipt; one sync at the end', run, runs: [] };
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? NaN;
const rate = ({ runs }: Contender): number => size / 1e6 / median(runs.map(({ seconds }) => seconds));
const peak = ({ runs }: Contender): number | undefined => Math.max(0, ...runs.map(({ rssMiB }) => rssMiB ?? 0)) || undefined;
const round = (number: number, digits: number): number => Math.round(number * 10 ** digits) / 10 ** digits;

/** Peak resident memory of both ends for a larger artifact: one run. */
async function largerMemory(): Promise<{ readonly mib: number; readonly receiverMiB: number; readonly senderMiB: number }> {
  const path = join(folder, 'larger');
  writeRandom(path, size * LARGER);
  const peer = await shoalPeer(path);
  const { rssMiB = NaN } = await peer.fetch();
  const { rssMiB: senderMiB } = await peer.end();
  return { mib: Number(values.size) * LARGER, receiverMiB: rssMiB, senderMiB };
}

async function main(): Promise<void> {
  compile();
  // Both ends of Shoal are children: what they are told in the environment makes them members of a fleet.
  if (values.tls) process.env['BENCH_FLEET'] = String((await measure<{ readonly fleet: string }>(process.execPath, [here('fleet.mjs'), join(folder, 'fleet')])).fleet);
  writeRandom(input, size);
  const before = loadavg()[0] ?? NaN;
  const peer = await shoalPeer(input);
  const ours: Contender = { name: 'shoal', bar: undefined, how: `${values.tls ? 'mutual TLS 1.3; ' : ''}hashed as it leaves and as it arrives, synced as it goes, read back and hashed again, renamed, directory synced`, run: () => peer.fetch(), runs: [] };
  const others: Readonly<Record<string, () => Promise<Contender | undefined>>> = { curl, libtorrent, webtorrent };
  const asked = values.against.split(',').flatMap((name) => others[name] ?? []);
  const rivals = (await Promise.all(asked.map((make) => make()))).filter((each) => each !== undefined);
  const contenders = [ours, ...rivals];
  const rounds = Number(values.rounds);
  for (let turn = 0; turn < rounds; turn++) for (const each of contenders) each.runs.push(await each.run());
  const own = rate(ours);
  const rows = contenders.map((each) => ({ name: each.name, 'MB/s': Math.round(rate(each)), 'shoal is ×': round(own / rate(each), 2), 'receiver peak MiB': peak(each) }));
  const of = (pick: (run: Run) => number | undefined): number => median(ours.runs.map((run) => pick(run) ?? NaN));
  const detail = { arrivedSeconds: of((run) => run.arrivedSeconds), seconds: of((run) => run.seconds), receiverCpuSeconds: of((run) => run.cpuSeconds), syncs: of((run) => run.syncs) };
  const sender = await peer.end();
  const memory = [{ mib: Number(values.size), receiverMiB: peak(ours) ?? NaN, senderMiB: sender.rssMiB }, await largerMemory()];
  const machine = { cores: availableParallelism(), processor: cpus()[0]?.model ?? 'unknown', node: process.version, load: [before, loadavg()[0] ?? NaN], folder: tmpdir() };

  console.error(`${values.size} MiB of random bytes in the page cache, over loopback, to a new file, synced; ${values.rounds} alternating rounds, medians`);
  console.error(`${String(machine.cores)} cores for both ends, ${machine.processor}; node ${machine.node}; hash ${tiers.hash.tier}; load before and after ${machine.load.map((each) => each.toFixed(1)).join(' and ')}`);
  for (const { name, how } of contenders) console.error(`${name.padEnd(11)} ${how}`);
  console.table(rows);
  console.error(
    `shoal: all bytes in the slot after ${detail.arrivedSeconds.toFixed(2)} s, proved on the medium and in its place after ${detail.seconds.toFixed(2)} s; ${String(detail.syncs)} syncs; ` +
      `receiver ${detail.receiverCpuSeconds.toFixed(2)} processor seconds, sender ${(sender.cpuSeconds / rounds).toFixed(2)} (its start included)`,
  );
  for (const { mib, receiverMiB, senderMiB } of memory) console.error(`peak resident memory with ${String(mib)} MiB: receiver ${String(receiverMiB)} MiB, sender ${String(senderMiB)} MiB`);
  const failures = contenders.flatMap((each) => (each.bar === undefined || own / rate(each) >= each.bar ? [] : [`${(own / rate(each)).toFixed(2)} × ${each.name}, not ${String(each.bar)}`]));
  for (const { mib, receiverMiB } of memory) if (!(receiverMiB < BAR.rssMiB)) failures.push(`the receiver took ${String(receiverMiB)} MiB for ${String(mib)} MiB`);
  const [small, large] = memory.map(({ receiverMiB }) => receiverMiB);
  if (!((large ?? NaN) <= (small ?? NaN) * BAR.growth)) failures.push(`the receiver's memory grows with the artifact: ${String(small)} to ${String(large)} MiB`);
  if (rivals.length < 3) failures.push('not measured against all of nginx→curl, libtorrent and WebTorrent (nginx-light, curl, python3-libtorrent)');
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ mib: Number(values.size), rounds, rows, ...detail, memory, machine, tiers, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

try {
  await main();
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
