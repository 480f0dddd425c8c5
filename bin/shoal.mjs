#!/usr/bin/env node
// The launcher. It must parse on any Node a machine may have, and does three things: find a Node that is new enough,
// find the program (TypeScript in a checkout, compiled in an installed copy), and run it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NEEDED = 24;
const root = new URL('..', import.meta.url);
const source = new URL('src/cli/main.ts', root);
const compiled = new URL('dist/cli/main.js', root);
// Type stripping does not work below node_modules, so an installed copy always runs what was compiled.
const installed = fileURLToPath(root).split(/[\\/]/).includes('node_modules');
const own = fileURLToPath(new URL('node_modules/node/bin/node' + (process.platform === 'win32' ? '.exe' : ''), root));

function fail(sentence) {
  process.stderr.write('shoal: ' + sentence + '\n');
  process.exitCode = 2;
}

/** Loads the program, which runs. In a checkout whose dependencies were never installed that is where it shows. */
async function run(program) {
  try {
    await import(program);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/Cannot find package/.test(error.message)) throw error;
    fail('its dependencies are not installed: run `npm ci` in ' + fileURLToPath(root));
  }
}

/** Runs the same command line with the Node that this checkout's dependencies brought, as if it were this process. */
function runWith(node) {
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail('cannot start ' + node + ': ' + error.message));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const each of signals) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}

if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  // The exec path check keeps a broken binary from starting itself for ever.
  if (existsSync(own) && process.execPath !== own) runWith(own);
  else
    fail(
      'this is Node ' +
        process.versions.node +
        ', and Shoal needs Node ' +
        NEEDED +
        ' or newer: install it from https://nodejs.org or run `npm ci` in a checkout, which brings one.',
    );
} else if (!installed && existsSync(source)) {
  // Types are stripped and code is compiled once, not at every start: a third of a second of processor time each. The place
  // is the checkout's own: whoever can write there can write to the program.
  if (module.enableCompileCache) module.enableCompileCache(fileURLToPath(new URL('node_modules/.cache/shoal/', root)));
  await run(source.href);
} else if (existsSync(compiled)) {
  await run(pathToFileURL(fileURLToPath(compiled)).href);
} else {
  fail('the compiled program is missing; run `npm run prepare` in ' + fileURLToPath(root));
}
