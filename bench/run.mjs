// `npm run bench -- NAME [args]`: runs bench/NAME.ts. One file per question; its first comment line says which.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';

const here = new URL('.', import.meta.url);
const [name, ...args] = process.argv.slice(2);

function help() {
  console.error('Usage: npm run bench -- NAME [arguments]\n');
  for (const file of readdirSync(here)
    .filter((each) => each.endsWith('.ts'))
    .sort()) {
    const first = readFileSync(new URL(file, here), 'utf8').split('\n', 1)[0];
    console.error(`  ${file.slice(0, -3).padEnd(14)} ${first.replace(/^(\/\/|\/\*\*?)\s*|\s*\*\/$/g, '')}`);
  }
}

if (name === undefined || name === '--help' || name === '-h') {
  help();
  process.exitCode = name === undefined ? 2 : 0;
} else if (!/^[\w-]+$/.test(name) || !existsSync(new URL(`${name}.ts`, here))) {
  console.error(`There is no benchmark ${name}.\n`);
  help();
  process.exitCode = 2;
} else {
  // A site in scenarios is the one in network namespaces.
  const file = name === 'site' && args.some((each) => each.startsWith('--scenario')) ? 'swarm' : name;
  // Its own process, so that a benchmark may ask for --expose-gc and be measured without this one's modules.
  const child = spawn(process.execPath, ['--expose-gc', fileURLToPath(new URL(`${file}.ts`, here)), ...args], {
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? code : 1;
  });
}
