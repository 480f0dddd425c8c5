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

it('asks the origin at once when all neighbours have answered that they have it not, unless one is about to have it', async () => {
  const clock = new ManualClock();
  const asked: string[] = [];
  let working = true;
  const source = (kind: SourceKind, name: string, page: () => Promise<Uint8Array>): Source => ({
    name, kind,
    page: () => {
      asked.push(name);
      return page();
    },
    holding: () => Promise.resolve(undefined),
    span: () => Promise.resolve(),
    totals: () => ({ content: 0, control: 0 }),
    close: () => Promise.resolve(),
  });
  const absent = (ids: Readonly<Record<string, number>>): Promise<Uint8Array> => Promise.reject(new ShoalError('NOT_HELD', 'not here', { ids }));
  const sources = [source('peer', 'idle', () => absent({})), source('peer', 'busy', () => absent(working ? { working: 1 } : {})), source('origin', 'origin', () => Promise.resolve(encoded))];
  const fetch = (alone: boolean): Promise<VerifiedPage> => new FailoverPages(key, () => sources, new Standing(() => clock.now()), clock, undefined, undefined, () => false, (coming) => alone && coming.length === 0).page(id);
  const turn = async (): Promise<void> => {
    for (let each = 0; each < 5; each++) await new Promise(setImmediate);
  };
  const waits = fetch(true);
  await turn();
  expect(asked).toEqual(['idle', 'busy']);
  working = false;
  clock.advance(250);
  expect((await waits).encoded).toEqual(encoded);
  asked.length = 0;
  // Who does not know yet who is there leaves the origin alone.
  void fetch(false).catch(() => undefined);
  await turn();
  expect(asked).toEqual(['idle', 'busy']);
});
