import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from './site.ts';
import type { Measured, Setting } from './scenarios.ts';

/** What other programs need on the same links: every device downloads the release at the same time, from the same origin. */
export type Stock = 'curl' | 'aria2' | 'transmission';

/** Port of the origin for stock clients. */
const TORRENT_PORT = 8480;
const PATIENCE_MS = 1_800_000;

interface Download {
  /** Where the file will lie. */
  readonly output: string;
  readonly command: readonly string[];
  /** Whether it is there; torrents go on for the others. */
  readonly done: (ended: boolean) => Promise<boolean>;
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);

async function downloadOf(stock: Stock, place: string, origin: string, file: string, artifact: string): Promise<Download> {
  await mkdir(place, { recursive: true });
  const torrent = `http://${origin}:${String(TORRENT_PORT)}/v1/torrents/firmware/${file}.torrent`;
  if (stock === 'curl') {
    const output = join(place, 'download');
    return { output, command: ['curl', '-sf', '-o', output, artifact], done: (ended) => Promise.resolve(ended) };
  }
  const name = 'firmware';
  if (stock === 'aria2') {
    return {
      output: join(place, name),
      command: ['aria2c', '--quiet', '--seed-ratio=0', '--seed-time=600', '--enable-dht=false', '--bt-enable-lpd=true', '--file-allocation=none', '--dir', place, torrent],
      done: async () => {
        const names = await readdir(place);
        return !names.some((each) => each.endsWith('.aria2')) && names.some((each) => !each.endsWith('.torrent'));
      },
    };
  }
  const [flag, script, saved] = [join(place, 'done'), join(place, 'finish.sh'), join(place, 'release.torrent')];
  await writeFile(script, `#!/bin/sh\ntouch ${flag}\n`);
  await chmod(script, 0o755);
  return {
    output: join(place, name),
    command: ['sh', '-c', `curl -sf -o ${saved} ${torrent} && exec transmission-cli -g ${join(place, 'settings')} -w ${place} -f ${script} ${saved}`],
    done: () => exists(flag),
  };
}

export async function stock(program: Stock, setting: Setting): Promise<Measured> {
  const { bed, devices, folder, prepared, site } = setting;
  const published = prepared.set.older.length + 1;
  await site.publish(published, ['--torrent', `${bed.originAddress}:${String(TORRENT_PORT)}`, '--torrent-products', '*']);
  const size = (await stat(prepared.set.target)).size;
  const { artifacts } = JSON.parse(await site.fetch('/v1/holdings')) as { readonly artifacts: readonly { readonly namespace: string; readonly root: string; readonly size: number }[] };
  const held = artifacts.find((each) => each.size === size);
  const artifact = `${site.originUrl}/v1/content/${held?.namespace ?? ''}/${held?.root ?? ''}/artifact`;
  // Pieces are hashed before the torrent is served.
  for (let tries = 0; program !== 'curl' && tries < 120; tries++) {
    if (site.status(`http://${bed.originAddress}:${String(TORRENT_PORT)}/v1/torrents/firmware/${String(published)}.torrent`) === 200) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const downloads = await Promise.all(Array.from({ length: devices }, (_, device) => downloadOf(program, join(folder, `stock-${String(device)}`), bed.originAddress, String(published), artifact)));
  const before = bed.backhaul;
  const since = performance.now();
  const running: ChildProcess[] = [];
  try {
    await Promise.all(downloads.map(async ({ command, done }, device) => {
      const [first = '', ...rest] = [...bed.device(device), ...command];
      const child = spawn(first, rest, { stdio: 'ignore' });
      running.push(child);
      let code: number | null | undefined;
      child.once('close', (ended) => (code = ended));
      while (!(await done(code === 0))) {
        if (code !== undefined && code !== 0) throw new Error(`${program} ended with ${String(code)}`);
        if (performance.now() - since > PATIENCE_MS) throw new Error(`${program} did not finish`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }));
    const seconds = (performance.now() - since) / 1000;
    const { down, up } = bed.backhaul;
    const expected = await sha256(prepared.set.target);
    for (const { output } of downloads) {
      const place = (await exists(output)) ? output : join(output, '..', (await readdir(join(output, '..'))).find((name) => /target|random|esbuild|node/.test(name)) ?? '');
      if ((await sha256(place)) !== expected) throw new Error(`${program} brought other bytes than were published`);
    }
    return { ledgers: [], content: down - before.down, interfaceBytes: { down: down - before.down, up: up - before.up }, seconds, notes: { 'content is': 'everything on the interface' }, failures: [] };
  } finally {
    for (const child of running) child.kill('SIGKILL');
  }
}
