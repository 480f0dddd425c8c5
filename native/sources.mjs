// Lists the kernels' C++ files, one a line, relative to native/: every .cc below native/<kernel> except the test drivers.
import { readdirSync } from 'node:fs';

const here = new URL('.', import.meta.url);

export function kernelSources() {
  return readdirSync(here, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'test' && entry.name !== 'build')
    .flatMap((folder) =>
      readdirSync(new URL(`${folder.name}/`, here), { recursive: true })
        .filter((name) => name.endsWith('.cc'))
        .map((name) => `${folder.name}/${name.replaceAll('\\', '/')}`),
    )
    .sort();
}

if (process.argv[1] !== undefined && import.meta.filename === process.argv[1]) {
  console.log(kernelSources().join('\n'));
}
