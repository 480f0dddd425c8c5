import { describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { SERVE_MAX_PASSING } from '../../src/core/limits.ts';
import { wire } from '../../src/core/wire.ts';
import { FileContent } from '../../src/serve/file-content.ts';
import type { ArrivingSpan, HeldFile } from '../../src/serve/file-content.ts';
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

/** A span of which chunks land when the test says so. */
class Coming implements ArrivingSpan {
  readonly #landed = new Set<number>();
  readonly #waiting: ((more: boolean) => void)[] = [];
  #ended = false;

  has(position: number): boolean {
    return this.#landed.has(position);
  }

  more(): Promise<boolean> {
    return this.#ended ? Promise.resolve(false) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  get readers(): number {
    return this.#waiting.length;
  }

  land(...positions: readonly number[]): void {
    for (const position of positions) this.#landed.add(position);
    for (const resolve of this.#waiting.splice(0)) resolve(true);
  }

  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve(false);
  }
}

describe('a span that is still coming', () => {
  const sampleOf = (): Promise<Sample> => makeSample(3_500_000, 8);
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };
  const chunksOf = (sample: Sample): number => sample.spans[1]?.chunks.length ?? 0;

  it('is passed on as it comes, and its holder says so', async () => {
    const sample = await sampleOf();
    const coming = new Coming();
    const { close, url } = await serve({ ...fileOf(sample, () => false), arriving: new Map([[1, coming]]) });
    const holding = await ask(url, wire.holding(sample.key));
    expect(holding.headers['shoal-arriving']).toBe('1');
    expect(Bitmap.decode(holding.body, sample.spans.length).size).toBe(0);
    const count = chunksOf(sample);
    expect(count).toBeGreaterThan(4);
    coming.land(0, 1);
    const answer = await fetch(`${url}${wire.span(sample.key, 1)}`);
    const reader = answer.body?.getReader();
    const got: Uint8Array[] = [];
    const read = async (): Promise<boolean> => {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (value !== undefined) got.push(value as Uint8Array);
      return done;
    };
    const here = (sample.spans[1]?.chunks.slice(0, 2) ?? []).reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    const length = (): number => got.reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (length() < here) await read();
    // Out of order: a gap is waited for.
    coming.land(3);
    await until(() => coming.readers === 1);
    expect(length()).toBe(here);
    coming.land(...Array.from({ length: count }, (_, position) => position));
    while (!(await read()));
    expect(Buffer.concat(got).equals(sample.spans[1]?.bytes ?? Buffer.alloc(0))).toBe(true);
    await close();
  });

  it('breaks off where it comes no further, and is an honest error before the first byte', async () => {
    const sample = await sampleOf();
    const [half, nothing] = [new Coming(), new Coming()];
    const { close, url } = await serve({ ...fileOf(sample, () => false), arriving: new Map([[0, nothing], [1, half]]) });
    half.land(0);
    const broken = fetch(`${url}${wire.span(sample.key, 1)}`).then((answer) => answer.arrayBuffer());
    const empty = ask(url, wire.span(sample.key, 0));
    await until(() => half.readers === 1 && nothing.readers === 1);
    half.end();
    nothing.end();
    await expect(broken).rejects.toThrow();
    expect((await empty).status).toBe(404);
    await close();
  });

  it('is passed on to so many at a time, whatever they ask for of it; the others are told to go elsewhere', async () => {
    const sample = await sampleOf();
    const coming = new Coming();
    const { close, url } = await serve({ ...fileOf(sample, () => false), arriving: new Map([[1, coming]]) });
    const most = Array.from({ length: SERVE_MAX_PASSING }, (_, at) => ask(url, wire.span(sample.key, 1, at % 2 === 0 ? undefined : [0])));
    await until(() => coming.readers === SERVE_MAX_PASSING);
    expect((await ask(url, wire.span(sample.key, 1))).status).toBe(503);
    coming.land(...Array.from({ length: chunksOf(sample) }, (_, position) => position));
    expect((await Promise.all(most)).map(({ status }) => status)).toEqual(most.map(() => 200));
    coming.end();
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
