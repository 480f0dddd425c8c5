// Calls every function of a native addon with whatever JavaScript can pass: run under AddressSanitizer, nothing but a
// thrown error may come of it. Arguments: path of the addon, seconds, seed.
import { createRequire } from 'node:module';
import { randomFrom } from './random.ts';

const [path = '', seconds = '5', seed = '1'] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(path) as Readonly<Record<string, (...args: unknown[]) => unknown>>;
const random = randomFrom(Number(seed));
const below = (n: number): number => Math.floor(random() * n);

function bytes(length: number): Uint8Array {
  const made = new Uint8Array(length);
  for (let at = 0; at < length; at++) made[at] = below(256);
  return made;
}

function detached(): Uint8Array {
  const { buffer } = bytes(5000);
  const view = new Uint8Array(buffer as ArrayBuffer);
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
  return view;
}

const makers: readonly (() => unknown)[] = [
  () => undefined, () => null, () => random() < 0.5, () => below(10), () => -below(1e9), () => 2 ** (20 + below(44)), () => NaN, () => Infinity, () => random() * 1e6,
  () => 'text', () => Symbol('s'), () => BigInt(below(1e9)), () => ({}), () => [], () => () => 1,
  () => bytes(below(20_000)), () => bytes(below(300)), () => new Uint8Array(0), detached, () => bytes(9000).subarray(below(9000)),
  () => new Uint32Array(below(40)), () => new Uint32Array(0), () => new Float64Array(8), () => new DataView(new ArrayBuffer(16)), () => new ArrayBuffer(64),
  () => new Uint8Array(new SharedArrayBuffer(below(9000))), () => new BigUint64Array(below(20)),
];
const anything = (): unknown => makers[below(makers.length)]?.();

const work = bytes(2 ** 21);

/** The right kinds at the right places, with values that may be anything: gets past the checks of types. */
const shaped: Readonly<Record<string, () => unknown[]>> = {
  chunkCuts: () => {
    const avg = 16_384 + below(60_000);
    const min = 4096 + below(avg - 4096);
    return [bytes(below(200_000)), min, avg, Math.min(1_048_576, 2 * avg + below(1000)), random() < 0.5, new Uint32Array(below(60)), below(6) - 1];
  },
  hashPieces: () => {
    const data = bytes(below(20_000));
    const lengths = Uint32Array.from({ length: below(6) }, () => (random() < 0.9 ? below(data.byteLength / 3) : below(2 ** 32)));
    return [data, lengths, bytes(below(9) * 32), below(6) - 1, random() < 0.5];
  },
  walkChunks: () => {
    const buffer = bytes(below(20_000));
    // No file: what is read must not depend on what the test runs under.
    return [-1, below(1e9), buffer, random() < 0.8 ? below(buffer.byteLength + 1) : below(2 ** 32), 4096 + below(9000), 16_384, 65_536, new Uint32Array(below(9)), bytes(below(300))];
  },
  walkPieces: () => {
    const into = bytes(below(20_000));
    return [-1, below(1e9), into, Uint32Array.from({ length: below(6) }, () => (random() < 0.9 ? below(into.byteLength + 9) : below(2 ** 32))), random() < 0.5, bytes(below(9) * 32)];
  },
  deltaDecodePage: () => {
    const begin = below(1e6);
    return [bytes(below(2000)), begin, begin + below(1e6), below(1e7), below(500)];
  },
  deltaDecodeSegment: () => {
    const buffer = bytes(below(20_000));
    const pieces = new Uint32Array(4 * below(8));
    // Sometimes they add up to the buffer, as they must; never for sure.
    let left = buffer.byteLength;
    for (let at = 0; at < pieces.length; at += 4) {
      const length = at + 4 === pieces.length ? left : below(left + 1);
      pieces.set([random() < 0.9 ? length : below(2 ** 32), below(4), random() < 0.5 ? below(1000) : below(2 ** 32), random() < 0.9 ? 0 : below(2 ** 32)], at);
      left -= length;
    }
    return [below(5), bytes(below(3000)), buffer, below(1e6), pieces, undefined];
  },
  deltaPlan: () => [Float64Array.from({ length: 4 * below(30) }, (_, i) => (random() < 0.95 ? [1000 * (i >> 2), below(1200), below(1e6), below(300) - 30][i % 4] as number : random() * 1e9 - 100)), below(9000), bytes(below(20_000))],
  deltaCopy: () => [bytes(below(900)), bytes(below(900)), Uint32Array.from({ length: 3 * below(9) }, () => (random() < 0.9 ? below(400) : below(2 ** 32))), 3 * below(3), 3 * below(9)],
  deltaShifts: () => [Array.from({ length: below(4) }, () => Float64Array.from({ length: 4 * below(30) }, () => (random() < 0.95 ? below(1e6) : Number(anything) - below(9)))), below(1e7)],
  deltaEncode: () => {
    const target = bytes(below(20_000));
    const ends = new Float64Array(random() < 0.8 ? [below(target.byteLength + 1), target.byteLength] : [random() * 1e5, -1, NaN]);
    const units = random() < 0.5 ? new Float64Array(0) : random() < 0.8 ? new Float64Array(random() < 0.5 ? [ends.length] : Array.from(ends, () => 1)) : new Float64Array([random() * 1e5, -1]);
    // What follows from the ends, or nearly.
    const begins = Float64Array.from(units.length === 0 && random() < 0.9 ? [] : ends, (_, i) => (random() < 0.8 ? (ends[i - 1] ?? 0) : below(target.byteLength + 1)));
    const streams = Float64Array.from({ length: 3 * below(3) }, (_, i) => (random() < 0.9 ? [1000 * Math.floor(i / 3), below(1200), below(600)][i % 3] as number : random() * 1e9 - 100));
    return [bytes(below(20_000)), target, ends, units, below(2 ** 20), below(4000), below(4), new BigUint64Array(random() < 0.8 ? 2 : below(3)), begins, streams];
  },
  inflate: () => [bytes(below(3000)), bytes(below(20_000)), random() < 0.5],
  inflateFirst: () => [bytes(below(3000)), bytes(below(20_000)), random() < 0.5, new Uint32Array(random() < 0.9 ? 2 : below(4))],
  deflateStreams: () => {
    const count = below(5);
    const some = (most: number): Uint32Array => Uint32Array.from({ length: count }, () => (random() < 0.95 ? below(most) : below(2 ** 32)));
    return [bytes(below(20_000)), some(6000), bytes(below(20_000)), some(6000), Uint16Array.from({ length: count }, () => (random() < 0.8 ? 1 + below(9) + 128 + below(2) * 256 : below(2 ** 16))), new Uint32Array(random() < 0.9 ? count : below(6)), random() < 0.9 ? work : bytes(below(300))];
  },
};

function shapedOf(make: () => unknown[]): unknown[] {
  const args = make();
  if (random() < 0.3) args[below(args.length)] = anything();
  return args;
}

let calls = 0;
let thrown = 0;
const until = performance.now() + Number(seconds) * 1000;
while (performance.now() < until) {
  for (const [name, run] of Object.entries(addon)) {
    if (typeof run !== 'function') continue;
    const make = shaped[name];
    const args = make !== undefined && random() < 0.5 ? shapedOf(make) : Array.from({ length: below(10) }, anything);
    calls++;
    try {
      await run(...args);
    } catch {
      thrown++; // Refused, as it should be.
    }
  }
}
console.log(`seed ${seed}, ${String(calls)} calls, ${String(thrown)} refused`);
