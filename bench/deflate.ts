// What compressing again costs a device: MB/s and memory of each encoder and level
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { deflateStreams } from '../src/container/deflate.ts';
import { codingByte } from '../src/container/streams.ts';
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

if (values.help) {
  console.error(`npm run bench -- deflate [--file FILE] [--megabytes N] [--json]

Blocks of 128 KiB from the middle of FILE (default: this Node), as of a squashfs; on both tiers, as zlib and as GNU gzip, at each level. A process
for each row: MB/s of content by processor time, MiB at its peak beyond one that compresses nothing.`);
  process.exit(0);
}

/** One row, in this process: level and whether as GNU gzip, or 0 for nothing at all. */
if (values.one !== undefined) {
  const [level = 0, gnu = 0] = values.one.split(',').map(Number);
  const whole = readFileSync(values.file);
  const data = Buffer.from(whole.subarray(whole.length >> 2, (whole.length >> 2) + Math.floor((Number(values.megabytes) * 1e6) / BLOCK) * BLOCK));
  const blocks = data.length / BLOCK;
  const out = Buffer.alloc(2 * data.length);
  let cpu = 0;
  if (level > 0) {
    const before = process.cpuUsage();
    const places = new Uint32Array(blocks).fill(2 * BLOCK);
    await deflateStreams(data, new Uint32Array(blocks).fill(BLOCK), new Uint8Array(blocks).fill(codingByte({ level, memory: 8, zlib: false, gnu: gnu === 1 })), out, places);
    const { user, system } = process.cpuUsage(before);
    cpu = (user + system) / 1e6;
  }
  console.log(JSON.stringify({ tier: native === undefined ? 'portable' : 'native', bytes: data.length, cpu, peak: process.resourceUsage().maxRSS / 1024 }));
  process.exit(0);
}

interface Row {
  readonly tier: string;
  readonly bytes: number;
  readonly cpu: number;
  readonly peak: number;
}

function row(tier: string, level: number, gnu: boolean): Row {
  // The twin is slow: a part says as much.
  const megabytes = tier === 'portable' ? Math.min(2, Number(values.megabytes)) : Number(values.megabytes);
  const args = [...process.execArgv, fileURLToPath(import.meta.url), '--file', values.file, '--megabytes', String(megabytes), '--one', `${String(level)},${gnu ? '1' : '0'}`];
  const { stdout, status } = spawnSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, SHOAL_KERNEL: tier } });
  if (status !== 0) throw new Error(`${tier} ${String(level)} ended with ${String(status)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Row;
}

const report = (native === undefined ? ['portable'] : ['native', 'portable']).flatMap((tier) => {
  const idle = row(tier, 0, false).peak;
  return [false, true].flatMap((gnu) => [1, 2, 3, 4, 5, 6, 7, 8, 9].map((level) => {
    const { bytes, cpu, peak } = row(tier, level, gnu);
    const result = { tier, encoder: gnu ? 'GNU gzip' : 'zlib', level, speed: bytes / 1e6 / cpu, memory: Math.max(0, peak - idle) };
    console.error(`${tier.padEnd(9)} ${result.encoder.padEnd(9)} level ${String(level)} ${result.speed.toFixed(1).padStart(7)} MB/s ${result.memory.toFixed(1).padStart(6)} MiB`);
    return result;
  }));
});
if (values.json) console.log(JSON.stringify({ ok: true, file: values.file, block: BLOCK, report }));
