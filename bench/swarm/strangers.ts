import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { foreigner } from './prepare.ts';
import { settled, updated } from './scenarios.ts';
import type { Measured, Setting } from './scenarios.ts';

/** Connections a second to each host: a hundred times what a device needs, and what two processors for all of them can give away. */
const EACH_A_SECOND = 2;

/** Strangers connect to the origin and to every device while an update runs: compare its time with that of `time --tls`. */
export async function strangers(setting: Setting): Promise<Measured> {
  const { bed, devices, folder, processes, prepared, site } = setting;
  if (prepared.identities === undefined) throw new Error('strangers are kept out by certificates: give --tls');
  const identity = await foreigner(processes, folder);
  await settled(setting);
  const targets = [site.originUrl, ...site.devices.map(({ number }) => site.urlOf(number))];
  const [command = '', ...args] = [...bed.device(devices), process.execPath, new URL('strangers.mjs', import.meta.url).pathname, identity, String(EACH_A_SECOND), ...targets];
  const program = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  program.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  try {
    await once(program.stdout, 'data');
    const result = await updated(setting);
    program.kill('SIGTERM');
    await once(program.stdout, 'end');
    const got = JSON.parse(said.trim().split('\n').at(-1) ?? '') as Readonly<Record<'plain' | 'none' | 'foreign' | 'silent' | 'answered', number>>;
    const { answered, ...tried } = got;
    return {
      ...result,
      notes: { ...result.notes, 'connections of strangers': tried.plain + tried.none + tried.foreign + tried.silent, 'a second': ((tried.plain + tried.none + tried.foreign + tried.silent) / result.seconds).toFixed(0), answered },
      failures: [...result.failures, ...(answered === 0 ? [] : [`${String(answered)} strangers were answered`])],
    };
  } finally {
    program.kill('SIGKILL');
  }
}
