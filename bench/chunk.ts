// How fast a file in the page cache becomes chunk ids: chunking + BLAKE3, reads included, on one pinned core
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomFillSync } from 'node:crypto';
import { parseArgs } from 'node:util';
import { defaultScanner } from '../src/chunk/cuts.ts';
import { DEFAULT_CHUNKING } from '../src/chunk/params.ts';
import { walkChunks } from '../src/chunk/walk.ts';
import { blake3 } from '../src/kernel/hash.ts';
import { tiers } from '../src/kernel/tiers.ts';

const MiB = 1024 * 1024;
/** What the project asks of the native tier, in GB (10^9 bytes) per second. */
const BAR = 2.0;
/** Read before the clock starts, so that what is measured is compiled code. */
const WARM_BYTES = 128 * MiB;

interface Contender {
  readonly name: string;
  readonly says: string;
  readonly env: Readonly<Record<string, string>>;
  readonly mode: 'walk' | 'read' | 'casync';
}

const CONTENDERS: readonly Contender[] = [
  { name: 'read+blake3', says: 'no chunking: 64 KiB pieces, native hash', mode: 'read', env: { SHOAL_HASH: 'native' } },
  { name: 'native', says: 'native scan, native hash', mode: 'walk', env: { SHOAL_KERNEL: 'native', SHOAL_HASH: 'native' } },
  { name: 'portable-scan', says: 'TypeScript scan, native hash', mode: 'walk', env: { SHOAL_KERNEL: 'portable', SHOAL_HASH: 'native' } },
  { name: 'fallback', says: 'TypeScript scan, WebAssembly hash', mode: 'walk', env: { SHOAL_KERNEL: 'portable', SHOAL_HASH: 'wasm' } },
  { name: 'casync', says: 'casync make --chunk-size=64K, to a new store: it also compresses and writes the chunks', mode: 'casync', env: {} },
];

interface Measured {
  /** GB per second of the clock. */
  readonly rate: number;
  /** The same without the time that a hypervisor gave to other machines: what this core does when it is ours. */
  readonly ownRate?: number;
  readonly chunks: number;
  readonly scanner: string;
  readonly hash: string;
  readonly rss: number;
}

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '5' },
    core: { type: 'string', default: String(cpus().length - 1) },
    'casync-rounds': { type: 'string', default: '1' },
    file: { type: 'string' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    worker: { type: 'string' },
  },
});

if (values.help) {
  console.error('npm run bench -- chunk [--size MIB] [--rounds N] [--casync-rounds N] [--core N] [--file PATH] [--json] [--check]');
  console.error(`--check exits 1 when the native tier's median is below ${BAR} GB/s. Without --file, random bytes are written to ${tmpdir()}.`);
} else if (values.worker !== undefined && values.file !== undefined) {
  await work(values.worker, values.file);
} else {
  compare();
}

/** In a process of its own: one warm stretch, one measured pass; prints its figures as JSON. */
async function work(mode: string, path: string): Promise<void> {
  const pass = mode === 'read' ? readAndHash : walk;
  await pass(path, WARM_BYTES);
  const start = process.hrtime.bigint();
  const stolenBefore = stolenSeconds(values.core);
  const { bytes, chunks } = await pass(path, Number.POSITIVE_INFINITY);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const own = seconds - (stolenSeconds(values.core) - stolenBefore);
  console.log(JSON.stringify({ rate: bytes / seconds / 1e9, ownRate: own > 0 ? bytes / own / 1e9 : undefined, bytes, chunks, scanner: defaultScanner, hash: tiers.hash.tier, rss: process.resourceUsage().maxRSS * 1024 }));
}

async function walk(path: string, most: number): Promise<{ bytes: number; chunks: number }> {
  await using file = await open(path);
  let bytes = 0;
  let chunks = 0;
  for await (const { length } of walkChunks(file, DEFAULT_CHUNKING)) {
    bytes += length;
    chunks++;
    if (bytes >= most) break;
  }
  return { bytes, chunks };
}

async function readAndHash(path: string, most: number): Promise<{ bytes: number; chunks: number }> {
  await using file = await open(path);
  const buffer = Buffer.allocUnsafeSlow(MiB);
  let bytes = 0;
  let chunks = 0;
  while (bytes < most) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, bytes);
    if (bytesRead === 0) break;
    for (let at = 0; at < bytesRead; at += 65_536, chunks++) blake3(buffer.subarray(at, Math.min(at + 65_536, bytesRead)));
    bytes += bytesRead;
  }
  return { bytes, chunks };
}

function compare(): void {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-chunk-'));
  process.on('exit', () => { rmSync(folder, { recursive: true, force: true }); });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const path = values.file ?? writeInput(join(folder, 'input'), Number(values.size) * MiB);
  const bytes = readThrough(path);
  const rounds = Number(values.rounds);
  const casync = has('casync', ['--version']) ? Number(values['casync-rounds']) : 0;
  const pin = has('taskset', ['-c', values.core, 'true']) ? ['taskset', '-c', values.core] : [];

  console.error(`${(bytes / MiB).toFixed(0)} MiB ${values.file === undefined ? 'of random bytes' : `of ${path}`}, in the page cache; ${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores`);
  console.error(`${pin.length > 0 ? `pinned to core ${values.core}` : 'NOT pinned: no taskset'}; ${rounds} alternating rounds, medians; chunks ${DEFAULT_CHUNKING.min}/${DEFAULT_CHUNKING.avg}/${DEFAULT_CHUNKING.max}, ${DEFAULT_CHUNKING.algorithm}`);

  const rates = new Map<string, number[]>(CONTENDERS.map(({ name }) => [name, []]));
  const ownRates = new Map<string, number[]>(CONTENDERS.map(({ name }) => [name, []]));
  const details = new Map<string, Record<string, unknown>>();
  for (let round = 0; round < rounds; round++) {
    for (const contender of CONTENDERS) {
      if (contender.mode === 'casync') {
        if (round < casync) rates.get(contender.name)?.push(runCasync(pin, folder, path, bytes));
        continue;
      }
      const result = runWorker(pin, contender, path);
      if (result === undefined) continue;
      rates.get(contender.name)?.push(result.rate);
      if (result.ownRate !== undefined) ownRates.get(contender.name)?.push(result.ownRate);
      details.set(contender.name, { chunks: result.chunks, scanner: result.scanner, hash: result.hash, peakRss: result.rss });
    }
  }

  const medians: Record<string, number> = {};
  const ownMedians: Record<string, number> = {};
  for (const { name, says } of CONTENDERS) {
    const all = (rates.get(name) ?? []).toSorted((a, b) => a - b);
    const median = medianOf(all);
    const own = medianOf(ownRates.get(name) ?? []);
    if (median === undefined) {
      console.error(`${name.padEnd(14)}      not available  (${says})`);
      continue;
    }
    medians[name] = median;
    if (own !== undefined) ownMedians[name] = own;
    console.error(`${name.padEnd(14)} ${median.toFixed(2).padStart(5)} GB/s  ${ownText(own)}  [${(all[0] ?? 0).toFixed(2)} … ${(all.at(-1) ?? 0).toFixed(2)}]  ${says}`);
  }
  const native = medians.native ?? 0;
  const met = native >= BAR;
  console.error(`native tier ${met ? 'meets' : 'MISSES'} the bar of ${BAR.toFixed(1)} GB/s`);
  if (values.json) {
    console.log(JSON.stringify({ bench: 'chunk', bytes, core: pin.length > 0 ? Number(values.core) : null, cores: cpus().length, rounds, unit: 'GB/s', medians, unstolen: ownMedians, rates: Object.fromEntries(rates), details: Object.fromEntries(details), bar: BAR, met }));
  }
  if (values.check && !met) process.exitCode = 1;
}

function runWorker(pin: readonly string[], contender: Contender, path: string): Measured | undefined {
  const [command = process.execPath, ...args] = [...pin, process.execPath, import.meta.filename, '--worker', contender.mode, '--file', path, '--core', values.core];
  const run = spawnSync(command, args, { env: { ...process.env, ...contender.env }, encoding: 'utf8' });
  if (run.status === 0) return JSON.parse(run.stdout) as Measured;
  // A tier that is not installed is a fact to show; anything else is a broken benchmark.
  if (run.stderr.includes('TIER_UNAVAILABLE')) return undefined;
  throw new Error(`${contender.name} failed: ${run.stderr.slice(0, 2000)}`);
}

function runCasync(pin: readonly string[], folder: string, path: string, bytes: number): number {
  const store = join(folder, 'store.castr');
  const [command = 'casync', ...args] = [...pin, 'casync', 'make', '--chunk-size=64K', `--store=${store}`, join(folder, 'input.caibx'), path];
  const start = process.hrtime.bigint();
  execFileSync(command, args, { stdio: 'ignore' });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  rmSync(store, { recursive: true });
  return bytes / seconds / 1e9;
}

function ownText(rate: number | undefined): string {
  return rate === undefined ? ''.padEnd(22) : `(unstolen ${rate.toFixed(2).padStart(5)} GB/s)`;
}

function medianOf(figures: readonly number[]): number | undefined {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1];
}

/** Seconds that the hypervisor has kept core `core` from this machine (Linux; proc(5), /proc/stat); else 0. */
function stolenSeconds(core: string): number {
  if (!existsSync('/proc/stat')) return 0;
  const line = readFileSync('/proc/stat', 'utf8').split('\n').find((each) => each.startsWith(`cpu${core} `));
  return Number(line?.split(' ')[8] ?? 0) / 100;
}

function has(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function writeInput(path: string, bytes: number): string {
  const file = openSync(path, 'wx');
  const piece = Buffer.alloc(MiB);
  for (let at = 0; at < bytes; at += MiB) writeSync(file, randomFillSync(piece));
  closeSync(file);
  return path;
}

/** Brings the file into the page cache, and says how long it is. */
function readThrough(path: string): number {
  if (!existsSync(path)) throw new Error(`${path} does not exist`);
  const file = openSync(path, 'r');
  const piece = Buffer.alloc(MiB);
  let bytes = 0;
  for (let some = 1; some > 0; bytes += some) some = readSync(file, piece);
  closeSync(file);
  return bytes;
}
