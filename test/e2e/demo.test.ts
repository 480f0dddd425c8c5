import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const DEMO = fileURLToPath(new URL('../../demo/run.ts', import.meta.url));
let folder: string;
let demo: ChildProcess;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-demo-test-'));
});
afterEach(async () => {
  // Where the test failed before it ended.
  if (demo.exitCode === null) {
    demo.kill('SIGINT');
    await once(demo, 'exit');
  }
  await rm(folder, { recursive: true, force: true });
});

/** Processes that have a path below `folder` on their command line. */
async function processesAt(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(folder)) found.push(line.replaceAll('\0', ' '));
  }
  return found;
}

describe.skipIf(process.platform !== 'linux')('the demo', () => {
  it('leaves nothing running and nothing behind on Ctrl-C', async () => {
    demo = spawn(process.execPath, [DEMO], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: folder } });
    const ended = new Promise<number | null>((resolve) => demo.once('close', resolve));
    // In the middle of it: origin, gateway and agents are up.
    await expect.poll(async () => (await processesAt(folder)).filter((line) => line.includes(' agent ')).length).toBeGreaterThan(0);
    demo.kill('SIGINT');
    expect(await ended).toBe(130);
    await expect.poll(() => processesAt(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });
});
