import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { vectorSpans } from '../../fixtures/index/generate.ts';
import { parseObjectId } from '../../src/core/ids.ts';
import { IndexBuilder } from '../../src/merkle/build.ts';
import { decodePage } from '../../src/merkle/page.ts';
import { verifyPage } from '../../src/merkle/verify.ts';
import type { VerifiedPage } from '../../src/merkle/verify.ts';

interface Vectors {
  readonly golden: readonly { spans: number; perSpan: number; bytes: number; root: string; pages: readonly { id: string; level: number; hex?: string }[] }[];
  readonly damaged: readonly { what: string; hex: string; code: string }[];
}

const vectors = JSON.parse(readFileSync(new URL('../../fixtures/index/vectors.json', import.meta.url), 'utf8')) as Vectors;

describe('index vectors of format 1', () => {
  it.each(vectors.golden)('builds $spans spans of $perSpan chunks to the same pages as ever', async ({ spans, perSpan, bytes, root, pages }) => {
    const built = new Map<string, VerifiedPage>();
    const builder = new IndexBuilder((page) => void built.set(page.id, page));
    for (const chunks of vectorSpans(spans, perSpan)) await builder.addSpan(chunks);
    expect(await builder.finish()).toEqual({ root, bytes, spans });
    for (const { id, level, hex } of pages) {
      expect(built.get(id)?.page.level).toBe(level);
      if (hex !== undefined) expect(Buffer.from(verifyPage(parseObjectId(id), Buffer.from(hex, 'hex')).encoded).toString('hex')).toBe(hex);
    }
  });

  it.each(vectors.damaged)('refuses $what', ({ hex, code }) => {
    expect(() => decodePage(Buffer.from(hex, 'hex'))).toThrow(expect.objectContaining({ code }) as Error);
  });
});
