import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needsHeader, needsSanitizer } from '../support/needs.ts';

const native = fileURLToPath(new URL('../../native', import.meta.url));
const hostile = fileURLToPath(new URL('../support/hostile-addon.ts', import.meta.url));
/** How long each kernel is fed. SHOAL_FUZZ_SECONDS makes it longer. */
const SECONDS = Number(process.env.SHOAL_FUZZ_SECONDS ?? 30);
/** Each driver, and the kernel it links. Drivers print their seed; SHOAL_SEED repeats a run. */
const drivers = readdirSync(join(native, 'test')).flatMap((name) => /^(\w+)_fuzz\.cc$/.exec(name)?.[1] ?? []);

/** The kernels that another one calls. */
const CALLED: Readonly<Record<string, readonly string[]>> = { walk: ['chunk', 'hash'], delta: ['scratch'] };

/** Where the headers of the Node that runs this are: with it, or in the package it came in. */
function nodeHeaders(): string {
  const platform = `node-${process.platform}-${process.arch}`;
  const root = join(native, '..', 'node_modules');
  const places = [join(dirname(process.execPath), '..'), join(root, 'node', 'node_modules', platform), join(root, platform)].map((place) => join(place, 'include', 'node'));
  return places.find((place) => existsSync(join(place, 'node_api.h'))) ?? expect.fail('the headers of Node are not there');
}

const COMPILE = ['-std=c++17', '-g', '-O1', '-fPIC', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-DNAPI_VERSION=9', '-I', '.'];
const kernels = execFileSync(process.execPath, ['sources.mjs'], { cwd: native, encoding: 'utf8' }).trim().split('\n');

const kernelOf = (source: string): string => source.slice(0, source.indexOf('/'));

interface Ran {
  readonly status: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly errors: string;
}

/** Runs a program beside others. */
function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: native, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.once('error', reject).once('close', (status, signal) => { resolve({ status, signal, out, errors }); });
  });
}

async function build(args: readonly string[]): Promise<void> {
  const { status, errors } = await run('c++', args);
  expect([status, errors]).toEqual([0, expect.anything()]);
}

describe.skipIf(needsSanitizer()).concurrent('native kernels under AddressSanitizer and UBSan', () => {
  let folder: string;
  const objectOf = (source: string): string => join(folder, `${source.replaceAll('/', '-')}.o`);

  // Each file once, for the drivers and the addon alike, as many at a time as there are cores.
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-sanitized-'));
    const left = [...kernels, 'addon.cc', ...drivers.map((kernel) => `test/${kernel}_fuzz.cc`)];
    await Promise.all(Array.from({ length: availableParallelism() }, async () => {
      for (let source = left.shift(); source !== undefined; source = left.shift()) {
        const strict = source.startsWith('test/') ? [] : ['-fno-exceptions', '-fno-rtti'];
        await build([...COMPILE, ...strict, ...(source === 'addon.cc' ? ['-I', nodeHeaders()] : []), '-c', '-o', objectOf(source), source]);
      }
    }));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('has a driver for every kernel', () => {
    expect(drivers).toEqual(expect.arrayContaining([...new Set(kernels.map(kernelOf))]));
  });

  it.each(drivers)('%s: nothing outside its buffers, nothing undefined, what comes back is right', async (kernel) => {
    const program = join(folder, kernel);
    const folders = [kernel, ...(CALLED[kernel] ?? [])];
    await build([...COMPILE, '-o', program, objectOf(`test/${kernel}_fuzz.cc`), ...kernels.filter((source) => folders.includes(kernelOf(source))).map(objectOf), '-lpthread']);
    const seed = process.env.SHOAL_SEED;
    const ran = await run(program, [String(SECONDS), ...(seed === undefined ? [] : [seed])]);
    console.log(`${kernel}: ${ran.out.trim().replaceAll('\n', ', ')}`);
    expect([ran.status, ran.errors]).toEqual([0, '']);
    expect(Number(/runs (\d+)/.exec(ran.out)?.[1])).toBeGreaterThan(10);
  });

  // The processor may not have it: then other instructions do what its own would. Its headers under the sanitizers take a minute to compile.
  it.skipIf(process.arch !== 'x64' || needsHeader('libsimde-dev', 'simde/x86/avx512.h'))('hash: AVX-512 gives the same hashes', async () => {
    const program = join(folder, 'hash-avx512');
    const sources = ['test/hash_fuzz.cc', ...kernels.filter((source) => kernelOf(source) === 'hash')];
    await build(['-std=c++17', '-O1', '-Wno-psabi', '-DSHOAL_HASH_EMULATE_AVX512', '-I', '.', '-o', program, ...sources]);
    const { errors, out, status } = await run(program, ['5']);
    expect([status, errors]).toEqual([0, '']);
    expect(Number(/runs (\d+)/.exec(out)?.[1])).toBeGreaterThan(10);
  });

  it('the addon: refuses whatever else JavaScript can pass', async () => {
    const addon = join(folder, 'shoal.node');
    await build([...COMPILE, '-shared', '-o', addon, ...['addon.cc', ...kernels].map(objectOf), '-lpthread']);
    const runtime = (await run('c++', ['-print-file-name=libasan.so'])).out.trim();
    const seed = process.env.SHOAL_SEED ?? String(Date.now() % 1e6);
    // Node itself leaks at its end, and it is not what is tested.
    const env = { ...process.env, LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0' };
    const ran = await run(process.execPath, [hostile, addon, String(SECONDS), seed], env);
    console.log(`addon: ${ran.out.trim()}`);
    expect([ran.status, ran.signal, ran.errors]).toEqual([0, null, '']);
    expect(Number(/(\d+) refused/.exec(ran.out)?.[1])).toBeGreaterThan(100);
  });
});
