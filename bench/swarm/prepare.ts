import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Processes } from '../../demo/processes.ts';

/** Releases of one product: what the devices have, oldest first, and what they are to get. */
export interface ReleaseSet {
  readonly name: string;
  readonly older: readonly string[];
  readonly target: string;
  /** Whether deltas from the older ones are made. */
  readonly deltas: boolean;
  readonly level: number;
}

export interface Identities {
  readonly operator: string;
  readonly gateway: string;
  readonly device: (device: number) => string;
}

/** Homes of an origin after each publication, so that a publication in a scenario takes no time of its own. */
export interface Prepared {
  readonly set: ReleaseSet;
  readonly trust: string;
  /** After so many publications; 0: none. */
  readonly home: (published: number) => string;
  /** Bytes of content and deltas that one device needs by itself, with the best of the older releases. */
  readonly least: number;
  readonly identities: Identities | undefined;
}

/** Makes what is not in `place` yet. `devices` are enrolled when the site is to talk TLS. */
export async function prepare(processes: Processes, place: string, set: ReleaseSet, devices: number | undefined): Promise<Prepared> {
  const done = join(place, 'least.json');
  const home = (published: number): string => join(place, `home-${String(published)}`);
  const identities: Identities = { operator: join(place, 'operator'), gateway: join(place, 'gateway'), device: (device) => join(place, `identity-${String(device)}`) };
  const made = (least: number): Prepared => ({ set, trust: join(home(0), 'trust', 'root.json'), home, least, identities: devices === undefined ? undefined : identities });
  try {
    const { least } = JSON.parse(await readFile(done, 'utf8')) as { readonly least: number };
    // What an older program made may be nothing that this one reads.
    if (set.deltas && devices === undefined && (await leastOf(processes, home(set.older.length + 1), place, set)) > least * 1.01) throw new Error('it was made by another version');
    return made(least);
  } catch {
    await rm(place, { recursive: true, force: true });
  }
  await mkdir(place, { recursive: true });
  const work = join(place, 'home');
  await processes.run('init', '--home', work);
  if (devices !== undefined) await enrolAll(processes, work, identities, devices);
  await cp(work, home(0), { recursive: true, preserveTimestamps: true });
  const all = [...set.older, set.target];
  for (const [at, path] of all.entries()) {
    const last = at === all.length - 1;
    const from = last && set.deltas ? set.older.map((_, older) => String(older + 1)).join(',') : 'none';
    await processes.run('publish', path, '--name', 'firmware', '--version', String(at + 1), '--home', work, '--level', String(set.level), '--deltas-from', from, '--delta-seconds', '3600');
    await cp(work, home(at + 1), { recursive: true, preserveTimestamps: true });
  }
  await rm(work, { recursive: true });
  const least = await leastOf(processes, home(all.length), place, set);
  await writeFile(done, JSON.stringify({ least }));
  return made(least);
}

async function enrolAll(processes: Processes, home: string, identities: Identities, devices: number): Promise<void> {
  // The fleet's authority has to be there before the origin starts.
  const token = async (...scope: readonly string[]): Promise<string> => String((await processes.run('token', '--home', home, ...scope))['token']);
  const tokens = { operator: await token('--role', 'operator'), gateway: await token('--role', 'gateway', '--site', 'bed'), device: await token('--products', 'firmware', '--site', 'bed', '--uses', String(devices)) };
  const origin = await processes.serve('origin', '--home', home, '--tls');
  const enrol = (token: string, identity: string): Promise<unknown> => processes.run('enroll', '--origin', origin.url, '--token', token, '--identity', identity);
  await enrol(tokens.operator, identities.operator);
  await enrol(tokens.gateway, identities.gateway);
  for (let device = 0; device < devices; device++) await enrol(tokens.device, identities.device(device));
  await origin.stop();
}

/** A device of another fleet; returns where its identity is. */
export async function foreigner(processes: Processes, place: string): Promise<string> {
  const [home, identity] = [join(place, 'foreign-home'), join(place, 'foreign-identity')];
  await processes.run('init', '--home', home);
  const { token } = await processes.run('token', '--home', home, '--products', 'firmware', '--site', 'bed');
  const origin = await processes.serve('origin', '--home', home, '--tls');
  await processes.run('enroll', '--origin', origin.url, '--token', String(token), '--identity', identity);
  await origin.stop();
  return identity;
}

/** What a device that nobody helps fetches, with each of the older releases: the least of them. */
async function leastOf(processes: Processes, home: string, place: string, { older }: ReleaseSet): Promise<number> {
  for (const at of older.keys()) await rm(join(place, `alone-${String(at)}`), { recursive: true, force: true });
  const origin = await processes.serve('origin', '--home', home);
  let least = Infinity;
  for (const [at, base] of older.entries()) {
    const output = join(place, 'alone');
    const { ledger } = (await processes.run('fetch', 'firmware', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(place, `alone-${String(at)}`), '-o', output, '--base', base)) as { readonly ledger: { readonly origin: number; readonly deltaFrom: { readonly origin: number } } };
    least = Math.min(least, ledger.origin + ledger.deltaFrom.origin);
    await rm(output);
  }
  await origin.stop();
  return least;
}
