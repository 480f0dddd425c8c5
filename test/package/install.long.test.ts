import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, symlink, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-package-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The Node that runs the tests comes first, whatever else the machine has. */
const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`, npm_config_nodedir: undefined, npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' };

function run(cwd: string, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(status ?? error?.message)}:\n${stdout}\n${stderr}`);
  return stdout;
}

const PROGRAM = `
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ShoalError, fetchRelease, initHome, isShoalError, publishFiles, startAgent, startHomeOrigin, tiers, trustHome } from 'shoal';
import type { Agent, FetchReport, Origin, Retry, Tiers } from 'shoal';

const loaded: Tiers = tiers;
const folder: string = await mkdtemp(join(tmpdir(), 'shoal-embedding-'));
const home = join(folder, 'home');
const { trustRoot } = await initHome(trustHome(home));
const image = join(folder, 'image');
await writeFile(image, 'x'.repeat(3_000_000));
const { manifest, published } = await publishFiles({ home, product: 'os', version: '1', artifacts: [{ name: 'image', path: image }], level: 3 });
const origin: Origin = await startHomeOrigin({ home, listen: { host: '127.0.0.1', port: 0 }, version: 'embedded' });
const common = { origin: origin.url, trustedRoot: await readFile(trustRoot), state: join(folder, 'state') };
const report: FetchReport = await fetchRelease({ ...common, product: 'os', output: join(folder, 'got') });
const agent: Agent = await startAgent({ products: [{ product: 'os', output: join(folder, 'kept') }], origin: origin.url, trustedRoot: common.trustedRoot, state: join(folder, 'agent'), listen: { host: '127.0.0.1', port: 0 }, version: 'embedded' });
await agent.poll();
await agent.close();
const kept = (await readFile(join(folder, 'kept'))).equals(await readFile(image));
const same = (await readFile(join(folder, 'got'))).equals(await readFile(image));
let refused: Retry | undefined;
try {
  await fetchRelease({ ...common, product: 'nothing', output: join(folder, 'none') });
} catch (error) {
  if (!isShoalError(error, 'NO_SUCH_RELEASE')) throw error;
  const shoal: ShoalError = error;
  refused = shoal.retry;
}
await origin.close();
await rm(folder, { recursive: true });
console.log(JSON.stringify({ published, same, kept, refused, sequence: manifest.sequence, written: report.ledger.written, hash: loaded.hash.tier }));
`;

describe('the package, as others install it', () => {
  it('runs its command, typechecks and runs a program that embeds it', async () => {
    run(root, 'npm', 'pack', '--silent', '--pack-destination', folder);
    const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz')) ?? '';
    const project = join(folder, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'embedding', version: '1.0.0', type: 'module', private: true, dependencies: { shoal: `file:../${tarball}` } }));
    run(project, 'npm', 'install');

    const said = JSON.parse(run(project, process.execPath, join('node_modules', '.bin', 'shoal'), '--version', '--json').trim()) as Record<string, unknown>;
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { readonly version: string };
    expect(said).toMatchObject({ name: 'shoal', version, tiers: { kernel: {}, hash: {}, zstd: {} } });
    expect(run(project, process.execPath, join('node_modules', '.bin', 'shoal'), 'publish', '--help')).toContain('--staging');

    await writeFile(join(project, 'main.ts'), PROGRAM);
    // The strictest check there is: declarations of the package included.
    const compilerOptions = { target: 'es2024', module: 'nodenext', moduleDetection: 'force', strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false, types: ['node'], lib: ['es2024'] };
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
    await mkdir(join(project, 'node_modules', '@types'), { recursive: true });
    for (const name of ['@types/node', 'undici-types']) await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name)).catch(() => undefined);
    run(project, process.execPath, join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.');

    expect(JSON.parse(run(project, process.execPath, 'main.ts').trim())).toMatchObject({ published: true, same: true, kept: true, refused: 'never', sequence: 1, written: 3_000_000 });

    // What is packed is what is needed: no sources, tests or build results.
    const packed = run(folder, 'tar', '-tzf', tarball).split('\n');
    expect(packed).toContain('package/dist/index.d.ts');
    expect(packed.filter((name) => /^package\/(src|test|bench|native\/(build|test))\//.test(name))).toEqual([]);
    // npm installs everything anew: minutes of work, for who knows how many minutes of waiting.
  }, 30 * 60_000);
});
