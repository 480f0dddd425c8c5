import { setPriority } from 'node:os';
import { ShoalError, isShoalError, messageOf } from '../../core/errors.ts';
import { expectLargeBuffers } from '../../kernel/heap.ts';
import { releaseDeltas, stagedDeltas } from '../deltas.ts';
import { STAGED } from './delta-runner.ts';
import type { DeltaNews } from './delta-runner.ts';

// Started by delta-runner.ts with a home and a product and a version, or a staging directory whose content is in the store: makes
// the deltas of that release, or of those, and says what became of them. It ends when whoever started it does, and may be killed at any time.

/** Serving comes first. */
const NICE = 10;

const [home = '', product = '', version = ''] = process.argv.slice(2);
const stop = new AbortController();
const end = (): void => {
  stop.abort(new ShoalError('INTERRUPTED', 'the origin is ending', { retry: 'again' }));
};
process.once('disconnect', end).once('SIGTERM', end);
// A Ctrl-C at a terminal goes to both: the origin decides.
process.on('SIGINT', () => undefined);
setPriority(NICE);
expectLargeBuffers();

const tell = (news: DeltaNews): Promise<void> => new Promise((resolve) => {
  if (process.connected) process.send?.(news, () => { resolve(); });
  else resolve();
});

try {
  const outcomes = product === STAGED ? await stagedDeltas(home, version, stop.signal) : await releaseDeltas({ home, product, version, signal: stop.signal });
  await tell({ outcomes, interrupted: stop.signal.aborted });
} catch (error) {
  await tell({ error: isShoalError(error) ? error.code : 'INTERNAL', message: messageOf(error) });
}
if (process.connected) process.disconnect();
