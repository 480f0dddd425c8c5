import { Buffer } from 'node:buffer';
import { SPAN_MAX_BYTES, SPAN_MIN_BYTES } from '../../src/core/limits.ts';
import type { ContentKey } from '../../src/core/wire.ts';
import { IndexBuilder } from '../../src/merkle/build.ts';
import type { VerifiedPage } from '../../src/merkle/verify.ts';
import { sealChunk } from '../../src/merkle/verify.ts';
import type { VerifiedChunk } from '../../src/merkle/verify.ts';
import type { StoreWriter } from '../../src/store/types.ts';

export interface SampleSpan {
  readonly offset: number;
  readonly chunks: readonly VerifiedChunk[];
  readonly bytes: Uint8Array;
}

export interface Sample {
  readonly key: ContentKey;
  readonly bytes: Uint8Array;
  readonly spans: readonly SampleSpan[];
  readonly pages: readonly VerifiedPage[];
}

/** Bytes that look random and depend on `seed` alone (xorshift32); every fourth KiB is zeros, so that zstd has something to do. */
export function sampleBytes(length: number, seed: number, compressible = true): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, length >> 2);
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    words[at] = compressible && (at & 0x300) === 0x300 ? 0 : state;
  }
  return bytes;
}

/** An artifact cut into chunks of uneven lengths. Where chunks end does not matter to anyone who serves them. */
export async function makeSample(length: number, seed = 1, options: { readonly compressible?: boolean; readonly namespace?: string } = {}): Promise<Sample> {
  const bytes = sampleBytes(length, seed, options.compressible ?? true);
  const pages: VerifiedPage[] = [];
  const builder = new IndexBuilder((page) => void pages.push(page));
  const spans: SampleSpan[] = [];
  let chunks: VerifiedChunk[] = [];
  let from = 0;
  const close = async (to: number): Promise<void> => {
    if (chunks.length === 0) return;
    await builder.addSpan(chunks.map(({ id, bytes: raw }) => ({ id, length: raw.byteLength })));
    spans.push({ offset: from, chunks, bytes: bytes.subarray(from, to) });
    chunks = [];
    from = to;
  };
  for (let at = 0; at < length; ) {
    const next = Math.min(length, at + 40_000 + ((at * 7) % 50_000));
    if (next - from > SPAN_MAX_BYTES) await close(at);
    chunks.push(sealChunk(bytes.subarray(at, next)));
    at = next;
    if (at - from >= SPAN_MIN_BYTES) await close(at);
  }
  await close(length);
  const { root } = await builder.finish();
  return { key: { namespace: options.namespace ?? 'default', root }, bytes, spans, pages };
}

/** Puts a sample into a store and makes it visible. */
export async function publishSample(store: StoreWriter, sample: Sample): Promise<void> {
  const batch = await store.begin();
  for (const { chunks } of sample.spans) await batch.putSpan(chunks);
  for (const page of sample.pages) await batch.putPage(page);
  await batch.commit([{ ...sample.key, size: sample.bytes.byteLength, spans: sample.spans.length }]);
}

export function joined(chunks: readonly VerifiedChunk[]): Buffer {
  return Buffer.concat(chunks.map(({ bytes }) => bytes));
}
