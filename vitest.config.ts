import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// Two projects: `unit` is what `npm test` runs and stays quick; `long` builds, installs, kills and measures.
// A test is long when its name ends in `.long.test.ts`.
export default defineConfig({
  test: {
    pool: 'forks',
    // Most tests wait for processes of their own, or for time to pass: fewer workers would leave a sixth of a machine with two cores idle.
    maxWorkers: Math.max(4, availableParallelism() - 1),
    // What is waited for comes when the machine gets to it, and a machine may be ten times as slow as the one this was written on.
    expect: { poll: { timeout: 200_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.long.test.ts', 'test/fixtures/**'],
          // Guards against what hangs, not measures: four files share two cores, which may be somebody else's half of the time.
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: ['test/**/*.long.test.ts'],
          exclude: ['test/fixtures/**'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
