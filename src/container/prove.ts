import { inflateRawSync, inflateSync } from 'node:zlib';
import { CONTAINER_MAX_HELD } from '../core/limits.ts';
import { deflateStreams } from './deflate.ts';
import { codingByte, codingOf } from './streams.ts';
import type { Coding, Streams } from './streams.ts';

/** Content that is decoded and coded again at a time. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** Batches at a time. */
const LANES = 2;

/** Finds how each of `streams` was made by making it. Where nothing gives its very bytes the level is 0. */
export async function proveStreams(whole: Uint8Array, streams: Streams, wanted: (n: number) => boolean, signal?: AbortSignal): Promise<Streams> {
  const proven = { ...streams, coding: streams.coding.map((byte) => codingByte({ level: 0, memory: 8, zlib: codingOf(byte)?.zlib === true })) };
  const numbers = Array.from(streams.at.keys()).filter(wanted);
  // The way that was right last is tried first: one program made them all, mostly.
  const lastRight = new Map<number, number>();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < numbers.length) {
      signal?.throwIfAborted();
      const batch: number[] = [];
      for (let bytes = 0; next < numbers.length && (batch.length === 0 || bytes + (streams.held[numbers[next] as number] as number) <= BATCH_BYTES); next++) {
        batch.push(numbers[next] as number);
        bytes += streams.held[numbers[next] as number] as number;
      }
      await proveBatch(whole, streams, batch, lastRight, proven.coding);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return proven;
}

async function proveBatch(whole: Uint8Array, streams: Streams, batch: readonly number[], lastRight: Map<number, number>, coding: Uint8Array): Promise<void> {
  const contents = new Map(batch.map((n) => [n, contentOf(whole, streams, n)]));
  const tried = new Map<number, number>();
  let open = batch.slice();
  while (open.length > 0) {
    const tries = open.map((n) => waysOf(streams.coding[n] as number, lastRight.get(streams.coding[n] as number))[tried.get(n) ?? 0]);
    open = open.filter((_, i) => tries[i] !== undefined);
    const ways = Uint8Array.from(tries.filter((way) => way !== undefined));
    const held = Uint32Array.from(open, (n) => contents.get(n)?.length ?? 0);
    const sizes = Uint32Array.from(open, (n) => streams.size[n] as number);
    const out = Buffer.allocUnsafeSlow(sizes.reduce((sum, size) => sum + size, 0));
    const fits = await deflateStreams(Buffer.concat(open.map((n) => contents.get(n) ?? new Uint8Array(0))), held, ways, out, sizes);
    let at = 0;
    open = open.filter((n, i) => {
      const size = sizes[i] as number;
      const from = streams.at[n] as number;
      const right = fits[i] === true && out.subarray(at, at + size).equals(whole.subarray(from, from + size));
      at += size;
      if (!right) {
        tried.set(n, (tried.get(n) ?? 0) + 1);
        return true;
      }
      coding[n] = ways[i] as number;
      lastRight.set(streams.coding[n] as number, ways[i] as number);
      return false;
    });
  }
}

/** What may have made a stream of which its head says so much, likeliest first. */
function waysOf(hint: number, lastRight: number | undefined): readonly number[] {
  const { level, zlib } = codingOf(hint) as Coding;
  // zlib's head tells levels apart only roughly; what others write means even less.
  const near = zlib ? (level === 9 ? [9, 8, 7] : level === 5 ? [5, 4, 3, 2] : [level]) : [level, ...[6, 9, 1].filter((each) => each !== level)];
  const gnu = zlib ? [] : near.map((each) => codingByte({ level: each, memory: 8, zlib, gnu: true }));
  const [usual = [], most = []] = ([8, 9] as const).map((memory) => near.map((each) => codingByte({ level: each, memory, zlib })));
  const ways = [...usual, ...gnu, ...most];
  return lastRight === undefined ? ways : [lastRight, ...ways.filter((way) => way !== lastRight)];
}

/** What a stream holds. Throws when it is none. */
export function contentOf(whole: Uint8Array, streams: Streams, n: number): Uint8Array {
  const at = streams.at[n] as number;
  const bytes = whole.subarray(at, at + (streams.size[n] as number));
  return (codingOf(streams.coding[n] as number)?.zlib === true ? inflateSync : inflateRawSync)(bytes, { maxOutputLength: CONTAINER_MAX_HELD });
}
