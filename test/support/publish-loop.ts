// A process to be killed: publishes releases into a store for ever, forgets old ones, collects, and says what is done.
import { PackStore } from '../../src/store/pack/store.ts';
import { publish, sampleArtifact, storedOf } from './artifacts.ts';

const [directory = '', from = '0'] = process.argv.slice(2);
const store = await PackStore.open(directory, { packBytes: 256 * 1024, level: 1, graceMs: 0 });
const say = (word: string, release: number): void => void process.stdout.write(`${word} ${String(release)}\n`);
say('open', 0);
for (let release = Number(from); ; release++) {
  const artifact = await releaseArtifact(release);
  await publish(store, artifact);
  say('committed', release);
  if (release < 3) continue;
  const old = await releaseArtifact(release - 3);
  say('forgetting', release - 3);
  await store.forget(storedOf(old));
  await store.gc();
}

/** Releases that share two spans and differ in one. */
export function releaseArtifact(release: number): ReturnType<typeof sampleArtifact> {
  return sampleArtifact([[1, 2, 3], [release + 100, release + 101, 5], [4]], 'default', 20_000);
}
