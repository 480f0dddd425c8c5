import { Option } from 'commander';
import type { Command } from 'commander';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import { expectLargeBuffers } from '../kernel/heap.ts';
import type { DeltaOutcome } from '../publish/deltas.ts';
import type { WishedDeltas } from '../roles/deltas.ts';
import type { DeltaConfig } from '../trust/repository/home.ts';
import { DEFAULT_HOME, byteCount, wholeNumber } from './values.ts';
import { emit, formatBytes, interruptible, progress, say } from './output.ts';
import type { Progress } from './output.ts';

export interface DeltaOptions {
  readonly deltasFrom?: string;
  readonly deltaMemory?: number;
  readonly deltaSeconds?: number;
  readonly deltasLater?: boolean;
}

export const DELTA_HELP = `
Deltas: before devices are offered the release, deltas are made from the two releases before it, so that a device fetches
what changed. --deltas-from says from which others:
  --deltas-from last:1        from the release before only
  --deltas-from reported:3    from the three that most devices say they run (shoal devices --runs)
  --deltas-from 1.2.0,1.3.1   from these, because devices still run them
  --deltas-from none          from none; "shoal delta NAME" makes them later
The release waits for them --delta-seconds at most; with --deltas-later it does not, and devices that ask meanwhile fetch
content.
A delta that would save nothing is thrown away, and one that cannot be made never fails the release. The defaults of a
home are in its config.json, under "deltas".`;

/** The options that say which deltas are made, at what cost. */
export function withDeltaOptions(command: Command): Command {
  return command
    .option('--deltas-from <which>', 'make deltas from last:N releases, from the reported:N that most devices run, from versions joined by\ncommas, or none (default: last:2)')
    .addOption(new Option('--delta-memory <bytes>', 'memory that making a delta may take, such as 512M or 4G (default: half of the machine)').argParser(byteCount))
    .option('--delta-seconds <n>', 'time for all deltas of the release (default: 600)', wholeNumber(0));
}

export function deltaConfigOf({ deltasFrom, deltaMemory, deltaSeconds }: DeltaOptions): DeltaConfig {
  return {
    ...(deltasFrom === undefined ? {} : { from: deltasFrom }),
    ...(deltaMemory === undefined ? {} : { memoryBytes: deltaMemory }),
    ...(deltaSeconds === undefined ? {} : { seconds: deltaSeconds }),
  };
}

/** One sentence about a delta that was, or was not, made. */
export function sentence(outcome: DeltaOutcome): string {
  const which = `delta ${outcome.from} → ${outcome.to} of ${outcome.artifact}`;
  if (outcome.result === 'failed') return `no ${which}: ${outcome.message}`;
  if (outcome.result === 'kept') return `${which}: there already, ${formatBytes(outcome.bytes)}`;
  const content = formatBytes(outcome.contentBytes ?? 0);
  const { advice } = outcome;
  const better = advice === undefined ? '' : `\n  ${formatBytes(advice.bytes)} of ${outcome.artifact} are compressed so that no delta looks into them. ${advice.text}${advice.deltaBytes === undefined ? '' : ` This delta would then take some ${formatBytes(advice.deltaBytes)}.`}`;
  if (outcome.result === 'made') return `${which}: ${formatBytes(outcome.bytes)} instead of ${content}, ${outcome.seconds.toFixed(1)} s${better}`;
  return `no ${which}: ${outcome.bytes === undefined ? '' : `it would have ${formatBytes(outcome.bytes)}, `}without one ${content} are fetched${better}`;
}

/** Lets the release wait for its deltas. */
export function withDeltasFirst(command: Command): Command {
  return command.option('--deltas-later', 'offer devices the release at once: its deltas follow');
}

/** The deltas that a release waits for; nothing with `--deltas-later`. */
export function firstOf(options: DeltaOptions, signal: AbortSignal, bar: Progress): { readonly deltasFirst?: WishedDeltas } {
  if (options.deltasLater === true) return {};
  return { deltasFirst: { deltas: deltaConfigOf(options), signal, onProgress: bar.update, onOutcome: tellWith(bar) } };
}

/** Says what became of a delta as soon as it is known, beside a progress bar. */
function tellWith(bar: Progress): (outcome: DeltaOutcome) => void {
  return (outcome) => {
    bar.stop();
    say(sentence(outcome));
  };
}

/** What to do about deltas that could not be made. */
export function sayFailed(outcomes: readonly DeltaOutcome[], product: string, version: string): void {
  if (outcomes.some(({ result }) => result === 'failed')) say(`The release stands; "shoal delta ${product}@${version}" tries again.`);
}

export interface DeltasOfRelease {
  readonly deltas: readonly DeltaOutcome[];
  /** Why there could be none at all. */
  readonly deltaProblem?: { readonly error: string; readonly message: string };
}

/** Makes the deltas of a release that is out, and says what became of them. Never throws: the release stands. */
export async function deltasAfter(home: string, product: string, version: string, deltas: DeltaConfig): Promise<DeltasOfRelease> {
  const bar = progress('deltas');
  const { signal, end } = interruptible('interrupted');
  try {
    const { releaseDeltas } = await import('../roles/deltas.ts');
    const outcomes = await releaseDeltas({ home, product, version, deltas, signal, onProgress: bar.update, onOutcome: tellWith(bar) });
    bar.stop();
    sayFailed(outcomes, product, version);
    return { deltas: outcomes };
  } catch (error) {
    bar.stop();
    say(`No deltas of ${product} ${version}: ${messageOf(error)}`);
    return { deltas: [], deltaProblem: { error: isShoalError(error) ? error.code : 'INTERNAL', message: messageOf(error) } };
  } finally {
    bar.stop();
    end();
  }
}

export function addDelta(program: Command): void {
  const command = program
    .command('delta')
    .summary('make or take back the deltas to a release')
    .description('Make the deltas to a release that is out, or take them back. Runs on the server, beside a running origin.')
    .argument('<release>', 'NAME[@VERSION]; the newest version when none is named')
    .option('--remove', 'take them back: all, or those --deltas-from names')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', 'one JSON object on standard output');
  withDeltaOptions(command)
    .addHelpText('after', '\nWhat is there already is kept, so this also goes on after an interruption, and makes again what "shoal verify --discard"\ndropped. Exit code 1 when one could not be made.\n\nExamples:\n  shoal delta os --home fleet\n  shoal delta os@1.4.0 --deltas-from 1.1.0,1.2.0 --delta-memory 4G\n  shoal delta os@1.3.0 --remove && shoal gc\n  shoal inspect fleet          (lists the deltas on offer)')
    .action(async (what: string, options: DeltaOptions & { readonly remove?: boolean; readonly home: string; readonly json?: boolean }) => {
      const { releaseDeltas, removeDeltas } = await import('../roles/deltas.ts');
      const [product = '', version] = what.split('@', 2);
      if (options.remove === true) {
        const { parseDeltaChoice } = await import('../publish/delta-policy.ts');
        const choice = options.deltasFrom === undefined ? undefined : parseDeltaChoice(options.deltasFrom);
        if (choice !== undefined && !('versions' in choice)) throw new ShoalError('BAD_USAGE', 'with --remove, --deltas-from names versions', { hint: 'For example --deltas-from 1.1.0,1.2.0; leave it out to take back all.' });
        const removed = await removeDeltas(options.home, product, version, choice?.versions);
        say(`${String(removed)} deltas taken back; "shoal gc" gives back their space.`);
        if (options.json === true) emit({ ok: true, removed });
        return;
      }
      expectLargeBuffers();
      const { signal, end } = interruptible('interrupted; what was made stays');
      const bar = progress('deltas');
      try {
        const deltas = await releaseDeltas({ home: options.home, product, ...(version === undefined ? {} : { version }), deltas: deltaConfigOf(options), signal, onProgress: bar.update, onOutcome: tellWith(bar) });
        bar.stop();
        if (deltas.length === 0) say('There is nothing to make a delta from.');
        const failed = deltas.find((outcome) => outcome.result === 'failed');
        if (options.json === true) emit({ ok: failed === undefined, ...(failed === undefined ? {} : { error: failed.error, message: failed.message }), deltas });
        if (failed !== undefined) process.exitCode = 1;
      } finally {
        bar.stop();
        end();
      }
    });
}
