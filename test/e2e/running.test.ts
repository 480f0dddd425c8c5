import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Processes } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';
import { ask } from '../support/raw-http.ts';

const processes = new Processes();
afterAll(() => processes.close());
const at = (...path: readonly string[]): string => join(processes.folder, ...path);

/** Versions that differ in a few bytes: 400 kB, which take a moment to diff. */
async function publish(version: string, ...more: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
  await writeFile(at('image'), Buffer.concat([body, Buffer.from(`version ${version}`), body.subarray(0, 100_000)]));
  return processes.must('publish', at('image'), '--name', 'os', '--version', version, '--home', at('home'), '--level', '1', ...more);
}
const body = randomBytes(300_000);

it('makes deltas from the release that most devices say they run, to the origin or to a gateway', async () => {
  await processes.must('init', '--home', at('home'));
  await publish('1');
  const origin = await processes.serve(['origin', '--home', at('home')]);
  const gateway = await processes.serve(['gateway', '--origin', origin.url, '--cache', at('cache'), '--poll', '0']);
  const agent = async (name: string, ...more: readonly string[]): Promise<() => Promise<void>> => {
    await mkdir(at(name), { recursive: true });
    const started = await processes.serve(['agent', `os=${at(name, 'image')}`, '--origin', origin.url, '--trust', at('home', 'trust', 'root.json'), '--state', at(name, 'state'), '--site', name, '--poll', '0.2', ...more]);
    return async () => { await started.stop(); };
  };
  const runs = async (): Promise<unknown> => ((await processes.must('devices', '--runs', '--home', at('home')))['runs'] as readonly { readonly version: string; readonly devices: number }[]).map(({ version, devices }) => [version, devices]);
  const has = async (name: string, version: string): Promise<boolean> => (await readFile(at(name, 'image')).catch(() => Buffer.alloc(0))).includes(`version ${version}`);

  const stops = [await agent('one'), await agent('two', '--gateway', gateway.url)];
  await expect.poll(runs, { interval: 500 }).toEqual([['1', 1]]);
  await expect.poll(() => has('two', '1')).toBe(true);
  // It says so when it asks for news the next time; what it asks meanwhile may be from before.
  const asked = async (): Promise<number> => [...(await ask(gateway.url, '/metrics')).body.toString().matchAll(/^shoal_http_requests_total\{.*tuf.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  const before = await asked();
  await expect.poll(asked, { interval: 200 }).toBeGreaterThanOrEqual(before + 4);
  for (const stop of stops) await stop();
  // These two stay on 1; one more updates as releases come.
  const third = await agent('three');
  await publish('2');
  await publish('3');
  await expect.poll(() => has('three', '3')).toBe(true);
  // What a gateway has heard it says at the end, too.
  expect((await gateway.stop()).code).toBe(0);
  await expect.poll(runs, { interval: 500 }).toEqual([['1', 2], ['3', 1]]);
  const metrics = (await ask(origin.url, '/metrics')).body.toString();
  expect(metrics).toContain('shoal_devices_running{product="os",version="1"} 2');
  expect(metrics).toContain('shoal_devices_running{product="os",version="3"} 1');
  const { deltas } = await publish('4', '--deltas-from', 'reported:1');
  expect((deltas as readonly { readonly from: string; readonly result: string }[]).map(({ from, result }) => [from, result])).toEqual([['1', 'made']]);
  await third();
  await origin.stop();
});
