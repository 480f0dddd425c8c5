import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** The command line as an installed copy runs it. */
export const COMPILED_SHOAL = join(ROOT, 'dist', 'cli', 'main.js');

/** As `npm run prepare` does: what is measured is what an installed copy runs. */
export function compile(): void {
  if (spawnSync(process.execPath, ['tools/prepare.mjs'], { cwd: ROOT, stdio: 'inherit' }).status !== 0) throw new Error('the source does not compile');
}
