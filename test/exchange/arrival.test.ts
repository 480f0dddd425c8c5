import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { ShoalError } from '../../src/core/errors.ts';
import type { ArtifactRecord } from '../../src/core/manifest.ts';
import { download } from '../../src/exchange/download.ts';
import type { Ledger } from '../../src/exchange/ledger.ts';
import { HttpSource } from '../../src/exchange/source.ts';
import type { Source } from '../../src/exchange/source.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import type { VerifiedPage } from '../../src/merkle/verify.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import { FileContent } from '../../src/serve/file-content.ts';
import type { ArrivingSpan } from '../../src/serve/file-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { DirectoryMetadata } from '../support/directory-metadata.ts';
import { livedClock } from '../support/lived-clock.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
/** Two or three spans, of which each comes half way. */
const content = randomBytes(3.9 * MiB);
/** Of what comes half way so much is in place at a neighbour before it goes on: all but the last batch of each span. */
const PART = MiB / 2;
const clock = livedClock();

let folder: string;
let artifact: ArtifactRecord;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-arrival-'));
  await writeFile(join(folder, 'published'), content);
  const store = await PackStore.open(join(folder, 'store'), { level: 3 });
  const batch = await store.begin();
  const { record, stored } = await ingestArtifact(batch, { path: join(folder, 'published'), name: 'image' }, { namespace: 'default' });
  await batch.commit([stored]);
  artifact = record;
  const origin = await startOrigin({ store, metadata: new DirectoryMetadata(nodeFiles, folder), listen: { host: '127.0.0.1', port: 0 }, version: '0', gcMs: 0 });
  url = origin.url;
  closeOrigin = () => origin.close();
});
let url: string;
let closeOrigin: () => Promise<void>;
afterAll(async () => {
  await closeOrigin();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function http(kind: 'origin' | 'peer', of: string): Source {
  const made = new HttpSource(kind, of, clock);
  closing.push(() => made.close());
  return made;
}

/** An origin behind a line that stops when it has brought a part: it goes on, or breaks, when told. */
class Line {
  readonly source: Source;
  readonly stopped: Promise<void>;
  #stop: () => void = () => undefined;
  #go: (broken: boolean) => void = () => undefined;
  readonly #goes = new Promise<boolean>((resolve) => (this.#go = resolve));

  constructor() {
    const origin = http('origin', url);
    this.stopped = new Promise((resolve) => (this.#stop = resolve));
    this.source = {
      name: origin.name, kind: 'origin',
      page: (...of) => origin.page(...of),
      holding: (...of) => origin.holding(...of),
      totals: () => origin.totals(),
      close: () => Promise.resolve(),
      span: async (key, request, sink, signal) => {
        let all: Promise<void> = Promise.resolve();
        // What comes is handed on a chunk at a time, and what comes after the half of it when the line goes on.
        await origin.span(key, request, { ...sink, take: (batch, first) => {
          all = all.then(async () => {
            for (const [at, chunk] of batch.entries()) {
              if (first + at === request.chunks.length >> 1) {
                this.#stop();
                if (await this.#goes) throw new ShoalError('HTTP_BODY', 'the line is down', { retry: 'elsewhere' });
              }
              await sink.take([chunk], first + at);
            }
          });
          all.catch(() => undefined);
          return all;
        } }, signal);
      },
    };
  }

  go(broken = false): void {
    this.#go(broken);
  }
}

interface Device {
  readonly source: Source;
  readonly done: Promise<Ledger>;
  readonly path: string;
  /** Bytes that are in place. */
  readonly bytes: () => number;
  readonly reaches: (bytes: number) => Promise<void>;
}

/** A device that downloads, and serves what it has. */
async function device(name: string, sources: () => readonly Source[]): Promise<Device> {
  const path = join(folder, name);
  const slot = await FileSlot.open(nodeFiles, path);
  const file = await nodeFiles.open(slot.partial, 'read');
  const pages = new Map<string, VerifiedPage>();
  const served = new FileContent();
  const arriving = new Map<number, ArrivingSpan>();
  const surface = await createSurface({ role: 'agent', version: '0', content: served });
  const own = await surface.listen('127.0.0.1', 0);
  const source = http('peer', own);
  closing.push(() => surface.close(0), () => file.close());
  let [bytes, changed] = [0, (): void => undefined];
  let spans = new Bitmap(0);
  const stop = new AbortController();
  closing.push(() => {
    stop.abort();
    return done.catch(() => undefined);
  });
  const done = download({
    namespace: 'default', artifact, sources, slot, clock, random: Math.random, signal: stop.signal,
    pages: { get: (id) => Promise.resolve(pages.get(id)), put: (page) => { pages.set(page.id, page); return Promise.resolve(); } },
    onIndex: (count) => {
      spans = new Bitmap(count);
      served.add({ key: { namespace: 'default', root: artifact.root }, size: artifact.size, spans, arriving, page: (id) => Promise.resolve(pages.get(id)), file });
    },
    onSpan: (span) => spans.add(span),
    onArriving: (span, on) => {
      if (on === undefined) arriving.delete(span);
      else arriving.set(span, on);
    },
    onProgress: (now) => {
      bytes = now;
      changed();
    },
  }).finally(() => slot.activate(artifact.size).catch(() => slot.close()));
  done.catch(() => undefined);
  const reaches = async (wanted: number): Promise<void> => {
    while (bytes < wanted) await new Promise<void>((resolve) => (changed = resolve));
  };
  return { source, done, path, bytes: () => bytes, reaches };
}

it('a span is passed on while it comes over the backhaul: a neighbour has what is here of it before the rest has come', async () => {
  const line = new Line();
  const first = await device('first', () => [line.source]);
  await line.stopped;
  const second = await device('second', () => [first.source]);
  await second.reaches(PART);
  expect(first.bytes()).toBeLessThan(content.byteLength);
  line.go();
  const [one, other] = await Promise.all([first.done, second.done]);
  expect(one).toMatchObject({ origin: expect.any(Number) as number, peer: 0 });
  expect(other).toMatchObject({ origin: 0, written: content.byteLength });
  expect((await readFile(second.path)).equals(content)).toBe(true);
});

it('a neighbour keeps what it had of a span that comes no further, blames nobody, and has the rest from another one', async () => {
  const line = new Line();
  const first = await device('first-cut', () => [line.source]);
  await line.stopped;
  let cut = false;
  const spare = http('origin', url);
  const second = await device('second-cut', () => (cut ? [first.source, spare] : [first.source]));
  await second.reaches(PART);
  const had = second.bytes();
  line.go(true);
  cut = true;
  const ledger = await second.done;
  expect((await readFile(second.path)).equals(content)).toBe(true);
  // Nothing is written twice, and only what was lacking crossed.
  expect(ledger.written).toBe(content.byteLength);
  expect(ledger.origin).toBeLessThan(content.byteLength - had + 64 * 1024);
});

it('a span that is passed on bit by bit is had from another one as soon as he has all of it', async () => {
  const line = new Line();
  const first = await device('first-slow', () => [line.source]);
  await line.stopped;
  let whole = false;
  const other = http('peer', url);
  const second = await device('second-slow', () => (whole ? [first.source, other] : [first.source]));
  await second.reaches(PART);
  const since = clock.now();
  whole = true;
  // The line has not gone on, and nobody is late yet: one who sends a little now and then never is.
  await second.done;
  expect(clock.now() - since).toBeLessThan(4_000);
  line.go(true);
  expect((await readFile(second.path)).equals(content)).toBe(true);
});
