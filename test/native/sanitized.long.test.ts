import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needsSanitizer } from '../support/needs.ts';

const native = fileURLToPath(new URL('../../native', import.meta.url));
const hostile = fileURLToPath(new URL('../support/hostile-addon.ts', import.meta.url));
/** How long each kernel is fed. SHOAL_FUZZ_SECONDS makes it longer. */
const SECONDS = Number(process.env.SHOAL_FUZZ_SECONDS ?? 30);
/** Each driver, and the kernel it links. Drivers print their seed; SHOAL_SEED repeats a run. */
const drivers = readdirSync(join(native, 'test')).flatMap((name) => /^(\w+)_fuzz\.cc$/.exec(name)?.[1] ?? []);

/** The kernels that another one calls. */
const CALLED: Readonly<Record<string, readonly string[]>> = { walk: ['chunk', 'hash'] };

/** Where the headers of the Node that runs this are: with it, or in the package it came in. */
function nodeHeaders(): string {
  const platform = `node-${process.platform}-${process.arch}`;
  const root = join(native, '..', 'node_modules');
  const places = [join(dirname(process.execPath), '..'), join(root, 'node', 'node_modules', platform), join(root, platform)].map((place) => join(place, 'include', 'node'));
  return places.find((place) => existsSync(join(place, 'node_api.h'))) ?? expect.fail('the headers of Node are not there');
}

describe.skipIf(needsSanitizer())('native kernels under AddressSanitizer and UBSan', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-sanitized-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('has a driver for every kernel', () => {
    const kernels = readdirSync(native, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !['test', 'build'].includes(entry.name));
    expect(drivers).toEqual(expect.arrayContaining(kernels.map(({ name }) => name)));
  });

  it.each(drivers)('%s: nothing outside its buffers, nothing undefined, what comes back is right', (kernel) => {
    const program = join(folder, kernel);
    const sources = [kernel, ...(CALLED[kernel] ?? [])].flatMap((folder) => readdirSync(join(native, folder)).filter((name) => name.endsWith('.cc')).map((name) => join(folder, name)));
    const built = spawnSync('c++', ['-std=c++17', '-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I', '.', '-o', program, `test/${kernel}_fuzz.cc`, ...sources, '-lpthread'], { cwd: native, encoding: 'utf8' });
    expect([built.status, built.stderr]).toEqual([0, expect.anything()]);
    const seed = process.env.SHOAL_SEED;
    const ran = spawnSync(program, [String(SECONDS), ...(seed === undefined ? [] : [seed])], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
    console.log(`${kernel}: ${ran.stdout.trim().replaceAll('\n', ', ')}`);
    expect([ran.status, ran.stderr]).toEqual([0, '']);
    expect(Number(/runs (\d+)/.exec(ran.stdout)?.[1])).toBeGreaterThan(10);
  });

  it('the addon: refuses whatever else JavaScript can pass', () => {
    const addon = join(folder, 'shoal.node');
    const sources = spawnSync(process.execPath, ['sources.mjs'], { cwd: native, encoding: 'utf8' }).stdout.trim().split('\n');
    const built = spawnSync('c++', ['-std=c++17', '-g', '-O1', '-shared', '-fPIC', '-fno-exceptions', '-fno-rtti', '-fsanitize=address', '-DNAPI_VERSION=9', '-I', nodeHeaders(), '-I', '.', '-o', addon, 'addon.cc', ...sources, '-lpthread'], { cwd: native, encoding: 'utf8' });
    expect([built.status, built.stderr]).toEqual([0, expect.anything()]);
    const runtime = spawnSync('c++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout.trim();
    const seed = process.env.SHOAL_SEED ?? String(Date.now() % 1e6);
    // Node itself leaks at its end, and it is not what is tested.
    const env = { ...process.env, LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0' };
    const ran = spawnSync(process.execPath, [hostile, addon, String(SECONDS / 2), seed], { env, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
    console.log(`addon: ${ran.stdout.trim()}`);
    expect([ran.status, ran.signal, ran.stderr]).toEqual([0, null, '']);
    expect(Number(/(\d+) refused/.exec(ran.stdout)?.[1])).toBeGreaterThan(100);
  });
});
