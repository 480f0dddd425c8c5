import { expect, it } from 'vitest';
import { ShoalError } from '../../src/core/errors.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { FailoverPages } from '../../src/exchange/pages.ts';
import type { Source, SourceKind } from '../../src/exchange/source.ts';
import { Standing } from '../../src/exchange/standing.ts';
import { makeLeaf } from '../../src/merkle/page.ts';
import { sealPage } from '../../src/merkle/verify.ts';
import type { VerifiedPage } from '../../src/merkle/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';

const { encoded, id } = sealPage(makeLeaf([{ id: 'cd'.repeat(32) as ObjectId, length: 5 }]));
const key = { namespace: 'default', root: 'ab'.repeat(32) as ObjectId };

it('leaves the origin alone until it may be asked, and takes a page from whoever has it by then', async () => {
  const clock = new ManualClock();
  const asked: string[] = [];
  let [here, mayCross] = [false, false];
  const source = (kind: SourceKind, has: () => boolean): Source => ({
    name: kind, kind,
    page: () => {
      asked.push(kind);
      return has() ? Promise.resolve(encoded) : Promise.reject(new ShoalError('NOT_HELD', 'not here'));
    },
    holding: () => Promise.resolve(undefined),
    span: () => Promise.resolve(),
    totals: () => ({ content: 0, control: 0 }),
    close: () => Promise.resolve(),
  });
  const sources = [source('peer', () => here), source('origin', () => true)];
  const fetch = (): Promise<VerifiedPage> => new FailoverPages(key, () => sources, new Standing(() => clock.now()), clock, undefined, undefined, () => mayCross).page(id);
  const later = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    clock.advance(250);
  };
  const first = fetch();
  for (let times = 0; times < 4; times++) await later();
  here = true;
  await later();
  expect((await first).encoded).toEqual(encoded);
  expect(new Set(asked)).toEqual(new Set(['peer']));
  // Nobody near has it: then the origin is asked when it may be.
  here = false;
  const second = fetch();
  await later();
  mayCross = true;
  await later();
  expect((await second).encoded).toEqual(encoded);
  expect(asked.at(-1)).toBe('origin');
});
