import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { measured, release, settled } from './scenarios.ts';
import type { Measured, Setting } from './scenarios.ts';

const PROGRAM = new URL('rival.mjs', import.meta.url).pathname;
const PORT = 8490;
/** How long each is watched, seconds, and how long the update runs before. */
const [SMALL_S, BULK_S, BEFORE_S] = [6, 15, 4];

interface Answers {
  readonly median: number;
  readonly most: number;
}

/**
 * Somebody else at the site needs the line while the update comes: how long his small questions take then, and what a download
 * of his gets, next to the same on a quiet line. The download begins when the update has the line to itself.
 */
export async function rival(setting: Setting, gentle: boolean): Promise<Measured> {
  const { bed, devices, site } = setting;
  const url = `http://${bed.originAddress}:${String(PORT)}`;
  const [command = '', ...args] = [...bed.origin, process.execPath, PROGRAM, 'serve', `${bed.originAddress}:${String(PORT)}`];
  const server = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  // From the host that is the gateway's where there is one.
  const ask = async <T>(what: 'bulk' | 'small', seconds: number): Promise<T> => {
    const [program = '', ...rest] = [...bed.device(devices), process.execPath, PROGRAM, what, url, String(seconds)];
    return JSON.parse((await promisify(execFile)(program, rest)).stdout) as T;
  };
  try {
    await once(server.stdout, 'data');
    await settled(setting, gentle ? ['--gentle'] : []);
    const smallAlone = await ask<Answers>('small', SMALL_S);
    const bulkAlone = await ask<{ readonly mbit: number }>('bulk', SMALL_S);
    const since = await release(setting);
    await new Promise((resolve) => setTimeout(resolve, BEFORE_S * 1000));
    const small = await ask<Answers>('small', SMALL_S);
    const bulk = await ask<{ readonly mbit: number }>('bulk', BULK_S);
    const early = site.devices.some((device) => device.has(String(setting.prepared.set.older.length + 1)));
    await Promise.all(site.devices.map((device) => device.installed(String(setting.prepared.set.older.length + 1))));
    return await measured(setting, since, site.devices, {
      'questions alone, ms': `${smallAlone.median.toFixed(0)} (95 %: ${smallAlone.most.toFixed(0)})`,
      'questions meanwhile, ms': `${small.median.toFixed(0)} (95 %: ${small.most.toFixed(0)})`,
      'download alone, Mbit/s': bulkAlone.mbit.toFixed(1),
      'download meanwhile, Mbit/s': bulk.mbit.toFixed(1),
      'of the line': `${((100 * bulk.mbit) / bulkAlone.mbit).toFixed(0)} %`,
    }, early ? ['the update ended before the other download did: take a larger --size'] : []);
  } finally {
    server.kill('SIGKILL');
  }
}
