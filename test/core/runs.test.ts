import { describe, expect, it } from 'vitest';
import { RUNS_HEADER_MAX, RUNS_MAX_PRODUCTS } from '../../src/core/limits.ts';
import { formatRuns, parseRuns } from '../../src/core/runs.ts';

describe('what a device says that it runs', () => {
  it('is read as it was written', () => {
    for (const runs of [[], [{ product: 'os', sequence: 0 }], [{ product: 'os', sequence: 12 }, { product: 'a+b.c-d', sequence: 999_999_999_999_999 }]]) {
      const report = { reporter: 'abc123', runs };
      expect(parseRuns(formatRuns(report))).toEqual(report);
    }
    expect(formatRuns({ reporter: 'me', runs: [{ product: 'os', sequence: 12 }, { product: 'maps', sequence: 3 }] })).toBe('me os=12,maps=3');
  });

  it('leaves out what does not fit into a header', () => {
    const many = Array.from({ length: 100 }, (_, at) => ({ product: `p${String(at)}${'x'.repeat(60)}`, sequence: at }));
    const text = formatRuns({ reporter: 'me', runs: many });
    expect(text.length).toBeLessThanOrEqual(RUNS_HEADER_MAX);
    expect(parseRuns(text)?.runs.length).toBeGreaterThan(10);
    expect(parseRuns(formatRuns({ reporter: 'me', runs: many.map(({ sequence }) => ({ product: `p${String(sequence)}`, sequence })) }))?.runs).toHaveLength(RUNS_MAX_PRODUCTS);
  });

  it('is nothing when it is anything else', () => {
    const bad = ['', ' ', 'me os', 'me os=', 'me =1', 'me os=-1', 'me os=1.5', 'me os=01', 'me os=1,', 'me os=1 maps=2', '../x os=1', 'me ../x=1', 'me os=1234567890123456', `me ${'os=1,'.repeat(40)}os=1`, `me ${'o'.repeat(2_000)}=1`, 'm\u00e9 os=1'];
    for (const text of bad) expect(parseRuns(text), text).toBeUndefined();
  });
});
