import { ShoalError } from './errors.ts';
import { LEAF_MAX_CHUNKS } from './limits.ts';

/**
 * A set of chunk positions inside one span, in its one canonical text form: ascending runs joined by commas, `4` for a
 * single chunk and `0-3` for several, neighbours always merged. It is part of immutable content URLs, so two spellings
 * of one set would be two entries in every cache.
 */
export function formatChunkSet(positions: readonly number[]): string {
  const runs: string[] = [];
  let first = -1;
  let last = -1;
  const flush = (): void => {
    if (first >= 0) runs.push(first === last ? String(first) : `${String(first)}-${String(last)}`);
  };
  for (const position of positions) {
    if (!Number.isSafeInteger(position) || position <= last) {
      throw new ShoalError('BAD_CHUNK_SET', 'chunk positions must be whole numbers in ascending order');
    }
    if (first >= 0 && position === last + 1) {
      last = position;
      continue;
    }
    flush();
    first = position;
    last = position;
  }
  flush();
  return runs.join(',');
}

/** Reads the canonical form. Throws `BAD_CHUNK_SET` for anything else, or for a position outside `0 … count - 1`. */
export function parseChunkSet(text: string, count: number = LEAF_MAX_CHUNKS): number[] {
  const bad = (): ShoalError => new ShoalError('BAD_CHUNK_SET', `"${text.slice(0, 80)}" is not a chunk set such as 0-3,7`);
  if (text.length === 0 || text.length > count * 5) throw bad();
  const positions: number[] = [];
  for (const run of text.split(',')) {
    const match = /^(0|[1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(run);
    if (match === null) throw bad();
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    const previous = positions.at(-1) ?? -2;
    if ((match[2] !== undefined && last <= first) || first <= previous + 1 || last >= count) throw bad();
    for (let position = first; position <= last; position++) positions.push(position);
  }
  return positions;
}
