import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Every skip of this run, so that whoever runs the tests where nothing may be missing can refuse it. */
function missing(what: string): true {
  if (process.env.SHOAL_NO_SKIP === '1') throw new Error(`${what}, and SHOAL_NO_SKIP=1 says that nothing may be skipped`);
  console.warn(`skipped: ${what}`);
  return true;
}

/** True, having said why, when a program of a Debian package is not installed. `program` defaults to the package's name. */
export function needsDebian(name: string, program: string = name): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const there = folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return there ? false : missing(`needs the Debian package ${name}`);
}

/** True, having said why, when the tests do not run as root. `what` says what root is for. */
export function needsRoot(what: string): boolean {
  return process.getuid?.() === 0 ? false : missing(`needs root ${what}`);
}

/** True, having said why, when there is no C++ compiler with AddressSanitizer. */
export function needsSanitizer(): boolean {
  const works = spawnSync('c++', ['-x', 'c++', '-fsanitize=address,undefined', '-o', '/dev/null', '-'], { input: 'int main() {}' }).status === 0;
  return works ? false : missing('needs a C++ compiler with AddressSanitizer (the Debian package g++)');
}

/** True, having said why, when the compiler does not find a header of a Debian package. */
export function needsHeader(name: string, header: string): boolean {
  const there = spawnSync('c++', ['-x', 'c++', '-fsyntax-only', '-'], { input: `#if !__has_include(<${header}>)\n#error\n#endif\n` }).status === 0;
  return there ? false : missing(`needs the Debian package ${name}`);
}

/** A Python that has a module of the Debian package `python3-MODULE`; undefined, having said why, when none has: the first in the path may not be Debian's. */
export function pythonWith(module: string): string | undefined {
  const found = ['python3', '/usr/bin/python3'].find((python) => spawnSync(python, ['-c', `import ${module}`]).status === 0);
  if (found === undefined) missing(`needs the Debian package python3-${module}`);
  return found;
}
