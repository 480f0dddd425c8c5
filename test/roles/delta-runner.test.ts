import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeltaOutcome } from '../../src/publish/deltas.ts';
import { DeltaRunner } from '../../src/roles/origin/delta-runner.ts';
import { DeltaHome, imageVersion } from '../support/delta-home.ts';

// The process that makes deltas takes the time from the machine, so these homes are signed now.
describe('deltas made beside a serving origin', () => {
  let it_: DeltaHome;
  let outcomes: DeltaOutcome[];
  let errors: string[];
  const open = (): Promise<DeltaRunner> => DeltaRunner.open({
    home: it_.home,
    onOutcome: (outcome) => outcomes.push(outcome),
    onError: (error, where) => errors.push(`${where}: ${(error as Error).message}`),
  });

  beforeEach(async () => {
    it_ = await DeltaHome.make('now');
    for (const version of [1, 2]) await it_.publish('os', String(version), { image: imageVersion(version) });
    outcomes = [];
    errors = [];
  });
  afterEach(() => it_.close());

  it('are listed, and told to whoever runs it', async () => {
    const runner = await open();
    await runner.add([{ product: 'os', version: '2' }, { product: 'os', version: '9' }]);
    await runner.idle();
    expect(outcomes).toMatchObject([{ from: '1', to: '2', result: 'made' }]);
    expect(errors).toEqual([expect.stringContaining('os 9 is not released here')]);
    expect(await it_.listed()).toHaveLength(1);
    await runner.close();
    // Nothing is left for the next time.
    const again = await open();
    await again.idle();
    expect([outcomes.length, errors.length]).toEqual([1, 1]);
    await again.close();
  });

  it('are made by the next run when this one ends before, whatever else lies in the list', async () => {
    const runner = await open();
    await runner.add([{ product: 'os', version: '2' }]);
    await runner.close();
    expect([outcomes, errors, await it_.listed()]).toEqual([[], [], []]);
    const again = await open();
    await again.idle();
    expect(outcomes).toMatchObject([{ result: 'made' }]);
    await again.close();
    for (const list of ['torn', '{}', '[{"product":"../x","version":"1"},{}]']) {
      await writeFile(join(it_.home.directory, 'deltas-pending.json'), list);
      await (await open()).close();
    }
    expect(errors).toEqual([]);
  });
});
