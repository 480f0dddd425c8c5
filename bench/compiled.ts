import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** The command line as an installed copy runs it. */
export const COMPILED_SHOAL = join(ROOT, 'dist', 'cli', 'main.js');

/** As `npm run prepare` does: what is measured is what an installed copy runs. */
export function compile(): void {
  for (const args of [['tools/clean.mjs', 'dist'], ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']]) {
    if (spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status !== 0) throw new Error(`${args[0] ?? ''} failed`);
  }
}
