/**
 * `npm run demo`: two real consecutive releases of a real program, from the publisher's key to eight devices behind one
 * gateway, every role a process of its own. Prints where the bytes came from. Leaves nothing behind, also on Ctrl-C.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const DEVICES = 8;
const SHOAL = fileURLToPath(new URL('../bin/shoal.mjs', import.meta.url));
const require = createRequire(import.meta.url);
const releases = ['esbuild-wasm-old', 'esbuild-wasm-new'].map((name) => ({
  version: (require(`${name}/package.json`) as { readonly version: string }).version,
  path: require.resolve(`${name}/esbuild.wasm`),
}));

interface Ledger {
  readonly local: number;
  readonly peer: number;
  readonly gateway: number;
  readonly origin: number;
  readonly control: number;
  readonly written: number;
  readonly seconds: number;
}

const running = new Set<ChildProcess>();
let interrupted = false;

/** Runs a command to its end and returns the JSON object it printed last. */
async function shoal(...args: readonly string[]): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, [SHOAL, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  running.delete(child);
  if (code !== 0) throw new Error(`shoal ${args.join(' ')} failed: ${errors.trim()}`);
  return JSON.parse(out.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

interface Server {
  readonly url: string;
  stop(): Promise<{ readonly ledger: { readonly upstream: { readonly content: number; readonly control: number } } }>;
}

/** Starts a role and waits until it says where it is. */
async function serve(...args: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [SHOAL, ...args, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const lines = createInterface({ input: child.stdout });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const next = async (): Promise<Record<string, unknown>> => {
    const line = await new Promise<string | undefined>((resolve) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(undefined));
    });
    if (line === undefined) throw new Error(`shoal ${args.join(' ')} ended: ${errors.trim()}`);
    return JSON.parse(line) as Record<string, unknown>;
  };
  const { url } = (await next()) as { readonly url: string };
  return {
    url,
    stop: async () => {
      const last = next();
      child.kill('SIGTERM');
      const report = await last;
      await ended;
      running.delete(child);
      return report as unknown as Awaited<ReturnType<Server['stop']>>;
    },
  };
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2).padStart(8);

async function demo(folder: string): Promise<void> {
  const home = join(folder, 'home');
  await shoal('init', '--home', home);
  const trust = join(home, 'trust', 'root.json');
  const origin = await serve('origin', '--home', home);
  // Five minutes is the default; here the second release follows at once.
  const gateway = await serve('gateway', '--origin', origin.url, '--cache', join(folder, 'gateway'), '--poll', '1');
  let whole = 0;
  let direct = 0;
  for (const [turn, { version, path }] of releases.entries()) {
    const published = await shoal('publish', path, '--name', 'esbuild', '--version', version, '--home', home);
    const { size } = await stat(path);
    const sha256 = createHash('sha256').update(await readFile(path)).digest('hex');
    const started = performance.now();
    const devices = await Promise.all(
      Array.from({ length: DEVICES }, async (_, device) => {
        const at = join(folder, `device-${String(device)}`);
        const report = await shoal('fetch', 'esbuild', '--origin', origin.url, '--gateway', gateway.url, '--trust', trust, '--state', join(at, 'state'),
          '-o', `${at}-${version}.wasm`, ...(turn === 0 ? [] : ['--base', `${at}-${releases[0]?.version ?? ''}.wasm`]));
        const actual = createHash('sha256').update(await readFile(`${at}-${version}.wasm`)).digest('hex');
        if (actual !== sha256) throw new Error(`device ${String(device)} has other bytes than were published`);
        return report as unknown as { readonly ledger: Ledger; readonly artifacts: readonly { readonly root: string }[] };
      }),
    );
    const seconds = (performance.now() - started) / 1000;
    console.log(`\nesbuild ${version}: ${megabytes(size).trim()} MB, ${megabytes(Number(published['addedBytes'])).trim()} MB new to the origin's store`);
    console.log('device    local     peer  gateway   origin  control  written  seconds  (MB)  verified root');
    for (const [device, { ledger, artifacts }] of devices.entries()) {
      const cells = [ledger.local, ledger.peer, ledger.gateway, ledger.origin, ledger.control, ledger.written].map(megabytes).join(' ');
      console.log(`${String(device).padStart(6)} ${cells} ${ledger.seconds.toFixed(2).padStart(8)}        ${artifacts[0]?.root.slice(0, 16) ?? ''}…`);
    }
    console.log(`All ${String(DEVICES)} devices have it, verified, after ${seconds.toFixed(1)} s.`);
    direct += devices.reduce((sum, { ledger }) => sum + ledger.origin, 0);
    whole += size * DEVICES;
  }
  const { ledger } = await gateway.stop();
  const crossed = ledger.upstream.content + direct;
  console.log(`\nBackhaul, both releases: ${megabytes(crossed).trim()} MB of content and ${megabytes(ledger.upstream.control).trim()} MB of control, once for ${String(DEVICES)} devices.`);
  console.log(`A plain download by each device would have been ${megabytes(whole).trim()} MB: ${(whole / crossed).toFixed(1)} times as much.`);
  await origin.stop();
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-demo-'));
const cleanUp = async (): Promise<void> => {
  for (const child of running) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    void cleanUp().then(() => process.exit(130));
  });
}
try {
  await demo(folder);
} catch (error) {
  if (!interrupted) {
    console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  await cleanUp();
}
