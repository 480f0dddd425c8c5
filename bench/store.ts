// How fast the pack store puts, finds and returns chunks, by zstd level, on compressible and incompressible content.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sealChunk } from '../src/merkle/verify.ts';
import type { VerifiedChunk } from '../src/merkle/verify.ts';
import { PackStore } from '../src/store/pack/store.ts';

const MiB = 1024 * 1024;
const CHUNK = 64 * 1024;
/** Chunks in a span of 2 MiB. */
const SPAN = 32;

function spansOf(bytes: Uint8Array): VerifiedChunk[][] {
  const chunks: VerifiedChunk[] = [];
  for (let at = 0; at < bytes.byteLength; at += CHUNK) chunks.push(sealChunk(bytes.subarray(at, at + CHUNK)));
  return Array.from({ length: Math.ceil(chunks.length / SPAN) }, (_, index) => chunks.slice(index * SPAN, (index + 1) * SPAN));
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function measure(name: string, bytes: Uint8Array, level: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-bench-store-'));
  const store = await PackStore.open(directory, { level, reserveBytes: 0 });
  const spans = spansOf(bytes);
  let stored = 0;
  const put = await seconds(async () => {
    const batch = await store.begin();
    // Two spans under way, as a publisher would: one is compressed while the other is cut.
    for (let at = 0; at < spans.length; at += 2) {
      stored += (await Promise.all(spans.slice(at, at + 2).map((span) => batch.putSpan(span)))).reduce((sum, each) => sum + each, 0);
    }
    await batch.commit([]);
  });
  const ids = spans.map((span) => span.map(({ id }) => id));
  const dedup = await seconds(async () => {
    const batch = await store.begin();
    for (const span of spans) await batch.putSpan(span);
    await batch.abort();
  });
  const asStored = await seconds(async () => {
    for (const span of ids) for (const run of (await store.runs(span, ['zstd'])) ?? []) for await (const piece of run.open()) void piece;
  });
  const decoded = await seconds(async () => {
    for (const span of ids) for (const id of span) await store.chunk(id);
  });
  await store.close();
  rmSync(directory, { recursive: true });
  const size = bytes.byteLength / MiB;
  const row = {
    content: name, level, 'stored %': Math.round((1000 * stored) / bytes.byteLength) / 10, 'put MiB/s': Math.round(size / put),
    'known chunks/s': Math.round(ids.flat().length / dedup), 'runs MiB/s (raw)': Math.round(size / asStored), 'chunks MiB/s': Math.round(size / decoded),
  };
  console.error(row);
  rows.push(row);
}

const rows: object[] = [];
const wasm = readFileSync(createRequire(import.meta.url).resolve('esbuild-wasm-new/esbuild.wasm'));
await measure('random 256 MiB', randomBytes(256 * MiB), 12);
for (const level of [3, 9, 12, 15, 19]) await measure(`esbuild.wasm ${String(Math.round(wasm.byteLength / MiB))} MiB`, wasm, level);
console.log(JSON.stringify({ bench: 'store', rows }));
