import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `file` of the package `name` (`NAME@VERSION`), fetched once into a folder of `data`: its path. */
export function fromNpm(data: string, name: string, file: string): string {
  const place = join(data, name);
  const made = join(place, 'package', file);
  if (existsSync(made)) return made;
  mkdirSync(place, { recursive: true });
  execFileSync('npm', ['pack', '--silent', name, '--pack-destination', place], { stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('tar', ['-xzf', join(place, readdirSync(place).find((each) => each.endsWith('.tgz')) ?? ''), '-C', place]);
  return made;
}
