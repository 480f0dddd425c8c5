import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { checkArchitecture } from '../../tools/arch/check.ts';
import { table } from '../../tools/arch/table.ts';

const fixture = fileURLToPath(new URL('../fixtures/arch', import.meta.url));

it('finds every kind of violation in a tree that has one of each, and nothing else', () => {
  // The fixture crosses between two folders that the project's own table may well allow: judged without its exceptions.
  expect(checkArchitecture(fixture, { ...table, sideways: [] })).toEqual([
    'attic/old.ts: the folder attic/ is not in the table',
    'core/up.ts:1: core/ may not import upward from kernel/',
    'core/up.ts:2: core/ is free of I/O and may not load node:fs',
    'dashboard/page.ts:2: dashboard/ may import only types, and only of: core',
    'dashboard/page.ts:3: dashboard/ may import only types, and only of: core',
    'index.ts:2: an entry file may not reach cli/',
    'kernel/entry.ts:1: nothing in src/ may import the entry file index.ts',
    'kernel/entry.ts:2: src/ may not reach outside itself (../../outside.ts)',
    'plan/up.ts:2: plan/ may not import upward from store/',
    'plan/up.ts:3: plan/ may not import upward from store/',
    'stray.ts: files directly in src/ must be named in the table',
    'trust/sideways.ts:2: trust/ may import only types from store/, which is on the same tier',
    'trust/sideways.ts:3: trust/ may import only types from store/, which is on the same tier',
    'trust/sideways.ts:4: trust/ may import only types from store/, which is on the same tier',
  ]);
});

it('passes the project itself', () => {
  expect(checkArchitecture(fileURLToPath(new URL('../../src', import.meta.url)), table)).toEqual([]);
});

it('lets a listed pair of one tier share values', () => {
  const sideways = [{ from: 'trust', to: 'store', reason: 'for this test' }];
  const found = checkArchitecture(fixture, { ...table, sideways });
  expect(found.filter((line) => line.startsWith('trust/'))).toEqual([]);
});
