import { decodeStream } from './codec.ts';
import { readOnly } from './coding.ts';
import { deflateStreams } from './deflate.ts';
import { proveOthers } from './prove-others.ts';
import { codingByte, codingOf } from './streams.ts';
import type { Coding, Streams } from './streams.ts';

/** Content that is decoded and coded again at a time, or one stream that holds more. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** Batches at a time. */
const LANES = 2;

export interface ProveOptions {
  /** That may look for what made streams other than deflate, beside this one; default 0. What is found does not depend on it. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with what a stream holds once it is known how it was made; the bytes change afterwards. */
  readonly onProven?: (n: number, content: Uint8Array) => void;
}

/** Finds how each of `streams` was made by making it. Where nothing gives its very bytes the level is 0. */
export async function proveStreams(whole: Uint8Array, streams: Streams, wanted: (n: number) => boolean, { threads = 0, signal, onProven }: ProveOptions = {}): Promise<Streams> {
  const proven = { ...streams, coding: streams.coding.map(readOnly) };
  const all = Array.from(streams.at.keys()).filter(wanted);
  const isDeflate = (n: number): boolean => (streams.coding[n] as number) < 128;
  const numbers = all.filter(isDeflate);
  // The way that was right last is tried first: one program made them all, mostly.
  const lastRight = new Map<number, number>();
  let next = 0;
  const lane = async (): Promise<void> => {
    const rooms = new Rooms();
    while (next < numbers.length) {
      signal?.throwIfAborted();
      const batch: number[] = [];
      for (let bytes = 0; next < numbers.length && (batch.length === 0 || bytes + (streams.held[numbers[next] as number] as number) <= BATCH_BYTES); next++) {
        batch.push(numbers[next] as number);
        bytes += streams.held[numbers[next] as number] as number;
      }
      await proveBatch(whole, streams, batch, rooms, (n, way, content) => {
        proven.coding[n] = way;
        lastRight.set(streams.coding[n] as number, way);
        onProven?.(n, content);
      }, (n) => lastRight.get(streams.coding[n] as number));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  for await (const { n, coding, content } of proveOthers(whole, streams, all.filter((each) => !isDeflate(each)), { threads, signal })) {
    proven.coding[n] = coding;
    onProven?.(n, content);
  }
  return proven;
}

/** Memory of a lane: what comes and goes is garbage for a while. */
class Rooms {
  #contents = Buffer.alloc(0);
  #coded = Buffer.alloc(0);

  contents(size: number): Buffer {
    if (this.#contents.length < size) this.#contents = Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, size));
    return this.#contents.subarray(0, size);
  }

  coded(size: number): Buffer {
    if (this.#coded.length < size) this.#coded = Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, size));
    return this.#coded.subarray(0, size);
  }
}

function sum(numbers: Iterable<number>): number {
  let all = 0;
  for (const each of numbers) all += each;
  return all;
}

async function proveBatch(
  whole: Uint8Array, streams: Streams, batch: readonly number[], rooms: Rooms, right: (n: number, way: number, content: Uint8Array) => void, lastRight: (n: number) => number | undefined,
): Promise<void> {
  const held = (n: number): number => streams.held[n] as number;
  const all = rooms.contents(sum(batch.map(held)));
  const contents = new Map<number, Uint8Array>();
  let place = 0;
  for (const n of batch) {
    const content = all.subarray(place, (place += held(n)));
    await contentOf(whole, streams, n, content);
    contents.set(n, content);
  }
  const ways = new Map(batch.map((n) => [n, waysOf(streams.coding[n] as number, lastRight(n))]));
  let open = batch.slice();
  for (let tried = 0; ; tried++) {
    const before = open.length;
    open = open.filter((n) => ways.get(n)?.[tried] !== undefined);
    if (open.length === 0) return;
    const codings = Uint8Array.from(open, (n) => ways.get(n)?.[tried] ?? 0);
    const sizes = Uint32Array.from(open, (n) => streams.size[n] as number);
    const out = rooms.coded(sum(sizes));
    const data = tried === 0 && open.length === before ? all : Buffer.concat(open.map((n) => contents.get(n) ?? new Uint8Array(0)));
    const fits = await deflateStreams(data, Uint32Array.from(open, held), codings, out, sizes);
    let at = 0;
    open = open.filter((n, i) => {
      const size = sizes[i] as number;
      const from = streams.at[n] as number;
      const same = fits[i] === true && out.subarray(at, at + size).equals(whole.subarray(from, from + size));
      at += size;
      if (same) right(n, codings[i] as number, contents.get(n) ?? new Uint8Array(0));
      return !same;
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

/** Fills `out` with what a stream holds. Throws when it is none, which cannot be of one that was found. */
export async function contentOf(whole: Uint8Array, streams: Streams, n: number, out: Uint8Array): Promise<void> {
  const at = streams.at[n] as number;
  if (!(await decodeStream(whole.subarray(at, at + (streams.size[n] as number)), streams.coding[n] as number, out))) throw new Error(`stream ${String(n)} cannot be decoded again`);
}
