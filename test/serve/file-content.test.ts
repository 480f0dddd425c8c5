import { describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { wire } from '../../src/core/wire.ts';
import { FileContent } from '../../src/serve/file-content.ts';
import type { HeldFile } from '../../src/serve/file-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { makeSample } from '../support/artifact.ts';
import type { Sample } from '../support/artifact.ts';
import { ask } from '../support/raw-http.ts';
import { surfaceContract } from './contract.ts';

interface Lying extends HeldFile {
  readonly bytes: Uint8Array;
}

/** A file that lies in memory, with the spans `has`. */
function fileOf(sample: Sample, has: (span: number) => boolean = () => true): Lying {
  const bytes = Uint8Array.from(sample.bytes);
  const spans = new Bitmap(sample.spans.length);
  for (let span = 0; span < spans.count; span++) if (has(span)) spans.add(span);
  return {
    key: sample.key, size: bytes.byteLength, spans, bytes,
    page: (id) => Promise.resolve(sample.pages.find((page) => page.id === id)),
    file: {
      read: (into, offset) => {
        const there = bytes.subarray(offset, offset + into.byteLength);
        into.set(there);
        return Promise.resolve(there.byteLength);
      },
    },
  };
}

async function serve(file: HeldFile): Promise<{ readonly url: string; readonly content: FileContent; close(): Promise<void> }> {
  const content = new FileContent();
  content.add(file);
  const surface = await createSurface({ role: 'agent', version: '0', content });
  return { url: await surface.listen('127.0.0.1', 0), content, close: () => surface.close(0) };
}

surfaceContract('a file of a device', () => makeSample(3_500_000), (sample) => serve(fileOf(sample)));

describe('a file that is still being written', () => {
  it('serves the spans that are there, says which, and takes on more', async () => {
    const sample = await makeSample(3_500_000, 5);
    const file = fileOf(sample, (span) => span === 1);
    const { url, close } = await serve(file);
    const held = async (): Promise<number> => Bitmap.decode((await ask(url, wire.holding(sample.key))).body, sample.spans.length).size;
    expect(await held()).toBe(1);
    expect((await ask(url, wire.span(sample.key, 1))).body.equals(sample.spans[1]?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect((await ask(url, wire.span(sample.key, 0))).status).toBe(404);
    file.spans.add(0);
    expect(await held()).toBe(2);
    expect((await ask(url, wire.span(sample.key, 0))).body.equals(sample.spans[0]?.bytes ?? Buffer.alloc(0))).toBe(true);
    await close();
  });
});

describe('a file that changed behind our back', () => {
  it('never lets a wrong chunk out, and is not asked for that span again', async () => {
    const sample = await makeSample(3_500_000, 6);
    const file = fileOf(sample);
    const { url, close } = await serve(file);
    const damaged = sample.spans[1]?.offset ?? 0;
    file.bytes[damaged + 500_000] = (file.bytes[damaged + 500_000] ?? 0) ^ 1;
    const answer = await ask(url, wire.span(sample.key, 1)).catch((error: unknown) => error as Error);
    if (!(answer instanceof Error)) expect(answer.status).not.toBe(200);
    expect((await ask(url, wire.span(sample.key, 1))).status).toBe(404);
    expect(Bitmap.decode((await ask(url, wire.holding(sample.key))).body, sample.spans.length).has(1)).toBe(false);
    expect((await ask(url, wire.span(sample.key, 2))).status).toBe(200);
    await close();
  });

  it('is not held at all once it was taken out', async () => {
    const sample = await makeSample(1_500_000, 7);
    const file = fileOf(sample);
    const { url, content, close } = await serve(file);
    const other = fileOf(sample);
    content.remove(other);
    expect((await ask(url, wire.span(sample.key, 0))).status).toBe(200);
    content.remove(file);
    expect((await ask(url, wire.span(sample.key, 0))).status).toBe(404);
    expect((await ask(url, wire.page(sample.key, sample.key.root))).status).toBe(404);
    await close();
  });
});
