// Whether memory stays flat: a large mixed artifact against one of a tenth of it, published, served and fetched by real processes
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { tiers } from '../src/kernel/tiers.ts';
import { COMPILED_SHOAL, compile } from './compiled.ts';
import { writeMixed } from './large/mixed.ts';

const MiB = 1024 * 1024;
/** The bars: a receiver's peak in MB, and how much more a role may take for ten times the bytes. */
const BAR = { receiverMB: 200, growth: 1.25 };
/** Looks at a process so often; the kernel remembers the peak, so only the last look counts. */
const LOOK_MS = 100;

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '10240' },
    level: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error('npm run bench -- large [--size MiB] [--level N] [--json] [--check]\n\nThe small artifact has a tenth of the size. Shoal is compiled first and runs as an installed copy does. Needs three times the size on disk. --check fails when memory grows.');
  process.exit(0);
}

interface Measured {
  readonly seconds: number;
  readonly peakMB: number;
}

const children = new Set<ChildProcess>();

function peakOf(child: ChildProcess): number | undefined {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(child.pid)}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : (Number(kilobytes) * 1024) / 1e6;
  } catch {
    return undefined; // It has ended: what was seen before stands.
  }
}

async function run(...args: readonly string[]): Promise<Measured> {
  const began = performance.now();
  const child = spawn(process.execPath, [COMPILED_SHOAL, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  children.add(child);
  let peakMB = 0;
  const looking = setInterval(() => (peakMB = peakOf(child) ?? peakMB), LOOK_MS);
  await once(child, 'exit');
  clearInterval(looking);
  children.delete(child);
  if (child.exitCode !== 0) throw new Error(`shoal ${args.join(' ')} failed`);
  return { seconds: (performance.now() - began) / 1000, peakMB };
}

interface Figures {
  readonly mib: number;
  readonly publish: Measured;
  readonly fetch: Measured;
  readonly again: Measured;
  readonly originPeakMB: number;
}

async function measure(folder: string, mib: number): Promise<Figures> {
  const [input, output, home] = [join(folder, 'artifact'), join(folder, 'fetched'), join(folder, `home-${String(mib)}`)];
  writeMixed(input, mib * MiB);
  await run('init', '--home', home);
  const publish = await run('publish', input, '--name', 'large', '--version', '1', '--home', home, '--level', values.level);
  rmSync(input);
  const origin = spawn(process.execPath, [COMPILED_SHOAL, 'origin', '--home', home, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.add(origin);
  const [line] = (await once(createInterface({ input: origin.stdout }), 'line')) as [string];
  const fetch = (): Promise<Measured> =>
    run('fetch', 'large', '--origin', (JSON.parse(line) as { readonly url: string }).url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'state'), '-o', output);
  const first = await fetch();
  const again = await fetch();
  const originPeakMB = peakOf(origin) ?? NaN;
  origin.kill();
  await once(origin, 'exit');
  children.delete(origin);
  for (const path of [home, output, join(folder, 'state')]) rmSync(path, { recursive: true, force: true });
  return { mib, publish, fetch: first, again, originPeakMB };
}

const round = (value: number, digits = 0): number => Number(value.toFixed(digits));
const rate = ({ mib }: Figures, { seconds }: Measured): number => round((mib * MiB) / 1e6 / seconds);

async function main(folder: string): Promise<void> {
  const large = Number(values.size);
  const small = Math.max(64, Math.round(large / 10));
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < 3 * large * MiB) throw new Error(`${folder} has ${String(round((bavail * bsize) / 1e9))} GB free; ${String(round((3 * large * MiB) / 1e9))} are needed (TMPDIR names another place)`);
  compile();
  const figures = [await measure(folder, small), await measure(folder, large)];
  const [less, more] = figures;
  if (less === undefined || more === undefined) return;
  console.error(`Mixed artifact (half incompressible, a quarter text, the rest zeros and repetitions), level ${values.level}; peaks of resident memory in MB`);
  const roles = { publish: ({ publish }: Figures) => publish.peakMB, origin: ({ originPeakMB }: Figures) => originPeakMB, fetch: ({ fetch }: Figures) => fetch.peakMB, 'fetch again': ({ again }: Figures) => again.peakMB };
  const rows = Object.entries(roles).map(([role, peak]) => ({ role, [`${String(less.mib)} MiB`]: round(peak(less)), [`${String(more.mib)} MiB`]: round(peak(more)), growth: round(peak(more) / peak(less), 2) }));
  console.table(rows);
  console.table(figures.map((each) => ({ MiB: each.mib, 'publish MB/s': rate(each, each.publish), 'fetch MB/s': rate(each, each.fetch), 'fetch again s': round(each.again.seconds, 1) })));
  const failures = rows.flatMap(({ role, growth }) => (growth <= BAR.growth ? [] : [`${role} took ${String(growth)} times the memory for ${String(round(more.mib / less.mib, 1))} times the bytes`]));
  for (const each of figures) if (each.fetch.peakMB >= BAR.receiverMB) failures.push(`the receiver of ${String(each.mib)} MiB took ${String(round(each.fetch.peakMB))} MB`);
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ figures, rows, tiers, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-large-'));
const cleanUp = (): void => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    cleanUp();
    process.exit(130);
  });
}
try {
  await main(folder);
} finally {
  cleanUp();
}
