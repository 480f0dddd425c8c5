// Builds the native addon at install. It never fails the install: what is missing is said in one line and the
// portable tier does the work. `--strict` (npm run native) exits 1 instead, for people who work on the kernels.
//
// Runs on any Node from 20 up, because npm may start it with the machine's own.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, '..');
const strict = process.argv.includes('--strict');
// A compiler that hangs must not hang the install; a cold build of every kernel takes a minute of processor time, on a busy machine ten of waiting.
const TIMEOUT_MS = 20 * 60_000;

/** The folder that holds include/node for the Node that runs us, or undefined when only a download would bring it. */
function headers() {
  const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  return [
    resolve(dirname(process.execPath), '..'),
    resolve(root, 'node_modules/node/node_modules', platform),
    resolve(root, 'node_modules', platform),
    resolve(root, '..', 'node/node_modules', platform),
    resolve(root, '..', platform),
  ].find((folder) => {
    const header = join(folder, 'include/node/node_version.h');
    return existsSync(header) && majorOf(folder) === process.versions.node.split('.')[0];
  });
}

function majorOf(folder) {
  const text = require('node:fs').readFileSync(join(folder, 'include/node/node_version.h'), 'utf8');
  return /#define NODE_MAJOR_VERSION (\d+)/.exec(text)?.[1];
}

/** node-gyp's script: npm names it for lifecycle scripts; otherwise it lies inside npm itself. */
function nodeGyp() {
  const named = process.env.npm_config_node_gyp;
  if (named !== undefined && existsSync(named)) return named;
  const npm = process.env.npm_execpath;
  const beside = npm === undefined ? undefined : resolve(dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
  return beside !== undefined && existsSync(beside) ? beside : undefined;
}

/** Runs node-gyp in `folder`; returns undefined on success, else why it failed. */
function gyp(folder) {
  const script = nodeGyp();
  if (script === undefined) return 'node-gyp was not found (run this through npm: `npm run native`)';
  const env = { ...process.env };
  // npm's own setting would override --nodedir, and points at a place that only dependencies see.
  delete env.npm_config_nodedir;
  env.PATH = `${dirname(process.execPath)}:${env.PATH ?? ''}`;
  const nodedir = headers();
  const jobs = ['-j', 'max'];
  const args = [script, 'rebuild', ...jobs, ...(nodedir === undefined ? [] : [`--nodedir=${nodedir}`])];
  const run = spawnSync(process.execPath, args, { cwd: folder, env, encoding: 'utf8', timeout: TIMEOUT_MS });
  if (run.status === 0) return undefined;
  if (run.error !== undefined) return run.error.message;
  const output = `${run.stdout}\n${run.stderr}`;
  if (strict) process.stderr.write(output);
  const line = output.split('\n').find((text) => /error[: ]|not found|ERR! stack/i.test(text));
  return (line ?? 'node-gyp failed').trim().slice(0, 300);
}

function loads(path) {
  try {
    require(path);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0] : String(error);
  }
}

/** bsdiff-node uses nan, so it must be compiled for this very Node; npm may have used another's headers. */
function repairBsdiff() {
  const folder = [join(root, 'node_modules/bsdiff-node'), resolve(root, '../bsdiff-node')].find((path) =>
    existsSync(path),
  );
  if (folder === undefined) return;
  const before = loads(folder);
  if (before === undefined) return;
  const why = gyp(folder) ?? loads(folder);
  if (why !== undefined)
    console.error(`shoal: bsdiff-node stays unavailable (${why}); BSDIFF40 patches are not offered.`);
}

function main() {
  if (Number(process.versions.node.split('.')[0]) < 24) {
    return `this is Node ${process.versions.node}; Shoal needs 24 or newer`;
  }
  const kernels = readdirSync(import.meta.dirname);
  if (!kernels.includes('addon.cc')) return 'native/addon.cc is missing';
  const why = gyp(import.meta.dirname) ?? loads(join(import.meta.dirname, 'build/Release/shoal.node'));
  repairBsdiff();
  return why;
}

// The first `npx shoal` in a checkout links the folder into npm's own cache and runs its install script once more, in
// the middle of a command: what `npm ci` built, or could not build, stays as it is.
if (process.env.npm_command === 'exec' && existsSync(join(root, 'src'))) process.exit(0);

const why = main();
if (why === undefined) {
  console.error('shoal: native kernels built.');
} else {
  console.error(`shoal: no native kernels (${why}). The portable tier does the same work, slower.`);
  if (strict) process.exitCode = 1;
}
