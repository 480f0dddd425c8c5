import { expect, it } from 'vitest';
import { idFromBytes } from '../../src/core/ids.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { ChunkTable } from '../../src/exchange/chunk-table.ts';
import { blake3 } from '../../src/kernel/hash.ts';

const idOf = (number: number): ObjectId => idFromBytes(blake3(Buffer.from(String(number))));

it('says where each chunk was first, over several growths, and nothing of others', () => {
  const table = new ChunkTable();
  // Beyond two doublings of its first size; offsets beyond 32 bits, as a large image has them.
  const place = (number: number): { readonly file: number; readonly offset: number } => ({ file: number % 3, offset: number * 5_000_000 });
  for (let number = 0; number < 3000; number++) table.note(idOf(number), place(number).file, place(number).offset);
  for (let number = 0; number < 3000; number += 7) table.note(idOf(number), 9, 1);
  for (let number = 0; number < 3000; number++) expect(table.place(idOf(number))).toEqual(place(number));
  for (let number = 3000; number < 6000; number++) expect(table.place(idOf(number))).toBeUndefined();
});

it('keeps ids apart that begin in the same entry', () => {
  const table = new ChunkTable();
  const ids = Array.from({ length: 5 }, (_, number) => `0000000${String(number)}00000000${'ab'.repeat(24)}` as ObjectId);
  for (const [at, id] of ids.entries()) table.note(id, 0, at);
  for (const [at, id] of ids.entries()) expect(table.place(id)).toEqual({ file: 0, offset: at });
});
