// What compressing again costs a device: MB/s and memory of each encoder and level, of deflate, zstd and xz
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compressStreams } from '../src/container/codec.ts';
import { xzCoding, zstdCoding } from '../src/container/coding.ts';
import { codingByte } from '../src/container/streams.ts';
import { loadXz } from '../src/container/xz.ts';
import { hasZstd } from '../src/container/zstd.ts';
import { native } from '../src/kernel/native.ts';

const { values } = parseArgs({
  options: {
    file: { type: 'string', default: process.execPath },
    megabytes: { type: 'string', default: '8' },
    one: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const BLOCK = 128 * 1024;
const WARM_BLOCKS = 12;
/** As mksquashfs makes them: a dictionary as long as the block. */
const XZ = { dictionary: 10, check: 1, lc: 3, lp: 0, pb: 2, filter: 0, sizes: true };
/** By effort: liblzma's presets. */
const PRESETS = ['0', '1', '2', '3', '4', '5', '6', '5e', '9e'];

if (values.help) {
  console.error(`npm run bench -- recompress [--file FILE] [--megabytes N] [--json]

Blocks of 128 KiB from the middle of FILE (default: this Node), as of a squashfs: deflate on both tiers, as zlib and as GNU gzip, at each level;
zstd of both versions and xz, which are WebAssembly whatever the tier, at each level and preset. A process for each row: MB/s of content by
processor time, MiB at its peak beyond one that compresses nothing. Slow encoders get a part of N.`);
  process.exit(0);
}

/** One row, in this process: a coding, or 0 for nothing at all. */
if (values.one !== undefined) {
  const coding = Number(values.one);
  const file = openSync(values.file, 'r');
  const { size } = fstatSync(file);
  const begin = Math.floor(size / 4);
  const data = Buffer.alloc(Math.floor(Math.min(Number(values.megabytes) * 1e6, size - begin) / BLOCK) * BLOCK);
  readSync(file, data, 0, data.length, begin);
  closeSync(file);
  const blocks = coding === 0 ? 0 : data.length / BLOCK;
  const held = Uint32Array.of(BLOCK);
  // Longer than any block: what does not fill it is made all the same.
  const out = Buffer.alloc(2 * BLOCK);
  // WebAssembly is compiled well once it has run for a while: an image is thousands of blocks.
  for (let n = 0; n < Math.min(blocks, WARM_BLOCKS); n++) await compressStreams(data.subarray(n * BLOCK, (n + 1) * BLOCK), held, Uint32Array.of(coding), out, Uint32Array.of(2 * BLOCK));
  const before = process.cpuUsage();
  for (let n = 0; n < blocks; n++) await compressStreams(data.subarray(n * BLOCK, (n + 1) * BLOCK), held, Uint32Array.of(coding), out, Uint32Array.of(2 * BLOCK));
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ tier: native === undefined ? 'portable' : 'native', bytes: data.length, cpu: (user + system) / 1e6, peak: process.resourceUsage().maxRSS / 1024 }));
  process.exit(0);
}

interface Row {
  readonly tier: string;
  readonly bytes: number;
  readonly cpu: number;
  readonly peak: number;
}

interface Encoder {
  readonly tier: string;
  readonly name: string;
  readonly level: string;
  readonly coding: number;
  /** Of what is asked for, at most: the slow ones say as much by a part. */
  readonly megabytes: number;
}

function row({ tier, coding, megabytes }: Pick<Encoder, 'tier' | 'coding' | 'megabytes'>): Row {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), '--file', values.file, '--megabytes', String(Math.min(megabytes, Number(values.megabytes))), '--one', String(coding)];
  const { stdout, status } = spawnSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, SHOAL_KERNEL: tier } });
  if (status !== 0) throw new Error(`${tier} ${String(coding)} ended with ${String(status)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Row;
}

const LEVELS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const tiers = native === undefined ? ['portable'] : ['native', 'portable'];
const deflate = tiers.flatMap((tier) => [false, true].flatMap((gnu) => LEVELS.map((level): Encoder => (
  { tier, name: gnu ? 'GNU gzip' : 'zlib', level: String(level), coding: codingByte({ level, memory: 8, zlib: false, gnu }), megabytes: tier === 'portable' ? 2 : Infinity }
))));
const zstd = ([0, 1] as const).filter(hasZstd).flatMap((version) => Array.from({ length: 22 }, (_, n): Encoder => (
  { tier: tiers[0] ?? '', name: version === 0 ? 'zstd 1.5.4' : 'zstd 1.5.7', level: String(n + 1), coding: zstdCoding({ level: n + 1, version, checksum: false }), megabytes: 4 }
)));
const xz = (await loadXz() ? PRESETS : []).map((preset, n): Encoder => ({ tier: tiers[0] ?? '', name: 'xz 5.8.4', level: preset, coding: xzCoding({ ...XZ, effort: n + 1 }), megabytes: 4 }));

// With as much to read.
const idle = new Map<string, number>();
function idlePeak({ tier, megabytes }: Encoder): number {
  const key = `${tier} ${String(megabytes)}`;
  const peak = idle.get(key) ?? row({ tier, coding: 0, megabytes }).peak;
  idle.set(key, peak);
  return peak;
}

const report = [...deflate, ...zstd, ...xz].map((encoder) => {
  const { tier, name, level, coding } = encoder;
  const { bytes, cpu, peak } = row(encoder);
  const where = coding < 128 ? tier : 'WebAssembly';
  const result = { tier: where, encoder: name, level, speed: bytes / 1e6 / cpu, memory: Math.max(0, peak - idlePeak(encoder)) };
  console.error(`${where.padEnd(12)} ${name.padEnd(11)} level ${level.padStart(2)} ${result.speed.toFixed(1).padStart(7)} MB/s ${result.memory.toFixed(1).padStart(6)} MiB`);
  return result;
});
if (values.json) console.log(JSON.stringify({ ok: true, file: values.file, block: BLOCK, report }));
