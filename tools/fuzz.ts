// `npm run fuzz -- [--seconds N] [--only NAME]…`: every native kernel under AddressSanitizer and the TypeScript parsers,
// all at once for N seconds each (default 60). Kernels that know libFuzzer are guided by coverage from seeds of the golden
// fixtures where there is clang; elsewhere, and for the others, input comes from a random seed, which is printed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeDeltaSeeds } from './fuzz/seeds.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, only: { type: 'string', multiple: true } } });
const seconds = Number(values.seconds);
if (!(seconds > 0)) {
  console.error('--seconds takes a number above 0');
  process.exit(2);
}

const native = fileURLToPath(new URL('../native', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'shoal-fuzz-'));
// Comparisons are not traced: coders make millions of them with numbers that mean nothing.
const CLANG = ['clang++', '-fsanitize=fuzzer,address,undefined', '-fno-sanitize-coverage=trace-cmp', '-DSHOAL_LIBFUZZER', '-DSHOAL_SMALL_MODELS'];
const GCC = ['c++', '-fsanitize=address,undefined', '-DSHOAL_SMALL_MODELS'];

/** The kernels that another one calls. */
const CALLED: Readonly<Record<string, readonly string[]>> = { walk: ['chunk', 'hash'], delta: ['scratch'] };

function compile(kernel: string, [compiler = '', ...flags]: readonly string[]): string | undefined {
  const program = join(folder, kernel);
  const sources = [kernel, ...(CALLED[kernel] ?? [])].flatMap((name) => readdirSync(join(native, name), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.cc')).map((file) => join(name, file)));
  const built = spawnSync(compiler, ['-std=c++17', '-g', '-O2', '-fno-sanitize-recover=all', ...flags, '-I', '.', '-o', program, `test/${kernel}_fuzz.cc`, ...sources, '-lpthread'], { cwd: native, encoding: 'utf8' });
  return built.status === 0 ? program : undefined;
}

interface Target {
  readonly name: string;
  readonly command: readonly string[];
  /** What of the kernel: SHOAL_FUZZ. */
  readonly part?: string;
}

/** Parsers of a kernel that are fuzzed each for itself, with seeds of their own: files that begin with the name. */
const PARTS: Readonly<Record<string, readonly string[]>> = { delta: ['page', 'payload', 'pair', 'units'] };

async function kernelTargets(kernel: string): Promise<readonly Target[]> {
  const guided = readFileSync(join(native, 'test', `${kernel}_fuzz.cc`), 'utf8').includes('LLVMFuzzerTestOneInput') ? compile(kernel, CLANG) : undefined;
  if (guided !== undefined) {
    return Promise.all((PARTS[kernel] ?? ['']).map(async (part) => {
      const name = part === '' ? kernel : `${kernel} ${part}`;
      const corpus = join(folder, `${name.replace(' ', '-')}-corpus`);
      mkdirSync(corpus);
      if (kernel === 'delta') await writeDeltaSeeds(corpus, part);
      return { name: `${name} (libFuzzer)`, part, command: [guided, corpus, `-max_total_time=${String(Math.ceil(seconds))}`, `-artifact_prefix=${folder}/${name.replace(' ', '-')}-`, '-max_len=4096', '-timeout=30', '-print_final_stats=1', '-verbosity=0'] };
    }));
  }
  const program = compile(kernel, GCC);
  if (program === undefined) throw new Error(`native/test/${kernel}_fuzz.cc does not compile with AddressSanitizer (clang++ or c++)`);
  return [{ name: `${kernel} (seeded)`, command: [program, String(seconds)] }];
}

function run({ name, command, part }: Target): Promise<boolean> {
  return new Promise((resolve) => {
    const [program = '', ...args] = command;
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: part === undefined || part === '' ? process.env : { ...process.env, SHOAL_FUZZ: part } });
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => said.push(text));
    child.on('close', (code, signal) => {
      const lines = said.join('').trim().split('\n');
      console.log(`${name}: ${code === 0 ? 'no finding' : `FOUND SOMETHING (${String(code ?? signal)})`}`);
      for (const line of code === 0 ? lines.filter((each) => /^(seed|runs|stat::(number_of|average|new_units)|differences)/.test(each)) : lines.slice(-60)) console.log(`  ${line}`);
      resolve(code === 0);
    });
  });
}

const kernels = readdirSync(join(native, 'test')).flatMap((name) => /^(\w+)_fuzz\.cc$/.exec(name)?.[1] ?? []);
const wanted = (name: string): boolean => values.only === undefined || values.only.includes(name);
const targets = (await Promise.all(kernels.filter(wanted).map(kernelTargets))).flat();
if (wanted('parsers')) targets.push({ name: 'parsers (seeded)', command: [process.execPath, fileURLToPath(new URL('fuzz/parsers.ts', import.meta.url)), String(seconds)] });
console.log(`${String(targets.length)} targets, ${String(seconds)} seconds each: ${targets.map(({ name }) => name).join(', ')}`);
const clean = await Promise.all(targets.map(run));
if (clean.every(Boolean)) rmSync(folder, { recursive: true });
else {
  console.error(`What was found, and the programs to repeat it with, is in ${folder}`);
  process.exitCode = 1;
}
