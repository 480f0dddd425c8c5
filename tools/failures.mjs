// A reporter for vitest that keeps what failed, and nothing else, in the file named by SHOAL_FAILURES: tests, hooks, files
// that did not load or did not end, errors nobody caught. `.ci/run` prints it last, where a log that is cut still shows it.
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const LINES = 15;

/** The first lines of what an error says, then where it was thrown. */
function text(error) {
  const said = `${error.name ?? 'Error'}: ${error.message ?? String(error)}${error.diff ? `\n${error.diff}` : ''}`;
  const lines = stripVTControlCharacters(said).split('\n');
  const shown = lines.length > LINES ? [...lines.slice(0, LINES), `… ${lines.length - LINES} more lines`] : lines;
  const where = (error.stacks ?? []).slice(0, 3).map((frame) => `at ${relative('', frame.file)}:${frame.line}`);
  const stack = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)).slice(0, 3);
  return [...shown, ...(where.length > 0 ? where : stack.map((line) => line.trim()))].map((line) => `    ${line}\n`).join('')
    + (error.cause?.message === undefined ? '' : `    because of:\n${text(error.cause)}`);
}

function entry(what, errors) {
  return `FAILED ${what}\n${errors.map(text).join('')}`;
}

export default class Failures {
  onTestRunEnd(modules, unhandled, reason) {
    const found = [];
    for (const module of modules) {
      const file = relative('', module.moduleId);
      for (const test of module.children.allTests('failed')) {
        const seconds = ((test.diagnostic()?.duration ?? 0) / 1000).toFixed(1);
        found.push(entry(`${file} > ${test.fullName} (${seconds} s)`, test.result().errors ?? []));
      }
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) found.push(entry(`${file} > ${suite.fullName} (its hooks)`, suite.errors()));
      }
      if (module.errors().length > 0) found.push(entry(`${file} (the file itself)`, module.errors()));
      if (module.state() === 'queued' || module.state() === 'pending') found.push(entry(`${file} (did not end)`, []));
    }
    if (unhandled.length > 0) found.push(entry('outside any test', unhandled));
    if (found.length === 0 && reason !== 'passed') found.push(entry(`the run as a whole: ${reason}`, []));
    const { SHOAL_FAILURES: file } = process.env;
    if (file !== undefined) appendFileSync(file, found.join(''));
  }
}
