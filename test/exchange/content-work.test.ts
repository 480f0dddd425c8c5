import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { ShoalError } from '../../src/core/errors.ts';
import type { ArtifactRecord } from '../../src/core/manifest.ts';
import { ContentWork } from '../../src/exchange/content-work.ts';
import { LocalChunks } from '../../src/exchange/local-chunks.ts';
import { Looker } from '../../src/exchange/looker.ts';
import { FailoverPages } from '../../src/exchange/pages.ts';
import type { Source } from '../../src/exchange/source.ts';
import { SpanFill } from '../../src/exchange/span-fill.ts';
import { Standing } from '../../src/exchange/standing.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { IndexReader } from '../../src/merkle/reader.ts';
import { verifyChunks } from '../../src/merkle/verify.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { bytesFrom } from '../support/random.ts';

const content = bytesFrom(1, 3 * 1024 * 1024);
let folder: string;
let store: PackStore;
let artifact: ArtifactRecord;
let slots = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-content-work-'));
  await writeFile(join(folder, 'published'), content);
  store = await PackStore.open(join(folder, 'store'), { level: 3 });
  const batch = await store.begin();
  const { record, stored } = await ingestArtifact(batch, { path: join(folder, 'published'), name: 'image' }, { namespace: 'default' });
  await batch.commit([stored]);
  artifact = record;
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

type Page = (honest: () => Promise<Uint8Array>) => Promise<Uint8Array>;

/** A neighbour whose spans are right. */
function neighbour(name: string, page: Page): Source {
  return {
    name, kind: 'peer',
    page: (_key, id) => page(async () => (await store.object('page', id)) ?? new Uint8Array()),
    holding: () => Promise.resolve(undefined),
    span: async (_key, { chunks, span }, { take }) => {
      const { offset, bytes } = await (await reader()).span(span);
      await take(verifyChunks(chunks, content.subarray(offset, offset + bytes)), 0);
    },
    totals: () => ({ content: 0, control: 0 }),
    close: () => Promise.resolve(),
  };
}

const reader = (): Promise<IndexReader> => IndexReader.open(artifact.root, artifact.size, { page: async (id) => (await store.object('page', id)) ?? new Uint8Array() });
const wrong = (bytes: Uint8Array): Uint8Array => bytes.with(20, (bytes[20] ?? 0) ^ 1);
const watch = { passed: false, alive: () => undefined, brings: () => undefined, came: () => undefined, arrived: () => undefined };

/** Asks several for one span at the same time. */
async function fetchOf(...sources: readonly Source[]): Promise<{ readonly fill: SpanFill; readonly outcomes: readonly Promise<string>[]; readonly close: () => Promise<void> }> {
  const index = await reader();
  const slot = await FileSlot.open(nodeFiles, join(folder, `slot-${String(slots++)}`));
  const { signal } = new AbortController();
  const key = { namespace: 'default', root: artifact.root };
  const pages = new FailoverPages(key, () => sources, new Standing(() => 0), systemClock, signal);
  const work = new ContentWork({ key, index, slot, pages, looker: new Looker(slot, new LocalChunks(), artifact.chunking, undefined), signal }, () => undefined, (error) => { throw error; });
  const fill = new SpanFill(await index.span(0));
  const outcomes = sources.map((source) => work.fetch(source, fill, signal, watch).then(() => 'brought', (error: unknown) => (error as ShoalError).code));
  return { fill, outcomes, close: () => slot.close() };
}

describe('content asked for twice, because the first who was asked is late', () => {
  it('is brought by an honest neighbour that answers for nothing that the other one sends', async () => {
    let tell = (): void => undefined;
    const asked = new Promise<void>((resolve) => (tell = resolve));
    // It sends its lie while the honest one is asked for the same page.
    const liar = neighbour('liar', async (honest) => { await asked; return wrong(await honest()); });
    const good = neighbour('honest', async (honest) => { tell(); await new Promise(setImmediate); return honest(); });
    const { close, fill, outcomes } = await fetchOf(liar, good);
    expect(await Promise.all(outcomes)).toEqual(['PAGE_MISMATCH', 'brought']);
    expect(fill.whole).toBe(true);
    await close();
  });

  it('nor for that it has not got it, or goes away', async () => {
    for (const code of ['NOT_HELD', 'HTTP_TRUNCATED']) {
      const other = neighbour('other', () => Promise.reject(new ShoalError(code, 'without')));
      const { close, outcomes } = await fetchOf(other, neighbour('honest', (honest) => honest()));
      expect(await Promise.all(outcomes)).toEqual([code, 'brought']);
      await close();
    }
  });

  it('does not wait for the page of the one that says nothing', async () => {
    let release = (): void => undefined;
    const silent = neighbour('silent', async (honest) => { await new Promise<void>((resolve) => (release = resolve)); return honest(); });
    const { close, fill, outcomes } = await fetchOf(silent, neighbour('honest', (honest) => honest()));
    expect(await outcomes[1]).toBe('brought');
    expect(fill.whole).toBe(true);
    release();
    expect(await outcomes[0]).toBe('brought');
    await close();
  });
});
