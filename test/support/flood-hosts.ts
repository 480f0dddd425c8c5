import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import type { Processes, Server } from './processes.ts';
import { randomBytes } from './random.ts';
import { ask } from './raw-http.ts';

const MiB = 1024 * 1024;

export type Role = 'origin' | 'gateway' | 'agent';

export interface FloodedSite {
  readonly hosts: Readonly<Record<Role, Server>>;
  /** Of an index page that all of them hold. */
  readonly pagePath: string;
}

/** An origin, a gateway and an agent that has installed what the origin has. */
export async function siteToFlood(processes: Processes): Promise<FloodedSite> {
  const { folder } = processes;
  const home = join(folder, 'home');
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), randomBytes(24 * MiB));
  const published = await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1');
  const [{ root }] = published['artifacts'] as [{ readonly root: string }];
  const pagePath = wire.page({ namespace: 'default', root: root as never }, root as never);
  const origin = await processes.serve(['origin', '--home', home]);
  const gateway = await processes.serve(['gateway', '--origin', origin.url, '--cache', join(folder, 'cache')]);
  const agent = await processes.serve(['agent', `os=${join(folder, 'os.img')}`, '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'state')]);
  await vi.waitFor(async () => expect((await ask(agent.url, pagePath)).status).toBe(200), { timeout: 200_000, interval: 200 });
  return { hosts: { origin, gateway, agent }, pagePath };
}
