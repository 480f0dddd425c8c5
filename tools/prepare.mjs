// Compiles src/ into dist/, which is what a package has. An install without development dependencies has no compiler for it, and a
// checkout needs none: Node runs its source.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const compiler = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));

if (existsSync(compiler)) {
  rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
  process.exitCode = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' }).status ?? 1;
} else {
  console.log('shoal: the library is not compiled here: that takes the development dependencies. Commands run without it.');
}
