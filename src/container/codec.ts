import { ShoalError } from '../core/errors.ts';
import { familyOf, zstdOf } from './coding.ts';
import { deflateStreams, inflateStream } from './deflate.ts';
import { codingOf } from './streams.ts';
import type { Views } from './views.ts';
import { decodeXz, loadXz, xzStream } from './xz.ts';
import { decodeZstd, hasZstd, loadAnyZstd, loadZstd, zstdFrame } from './zstd.ts';

/** Codes and decodes streams of all families. */

/**
 * Codes streams that lie one after another in `data`, `held` bytes each, into `out`, one after another, each in a place of its own
 * of `sizes` bytes. Returns for each whether it fills its place exactly; where not, what is there is nothing to go by.
 *
 * @throws ShoalError `BAD_DELTA` when a stream is longer than any may be
 */
export async function compressStreams(data: Uint8Array, held: Uint32Array, codings: Uint32Array, out: Uint8Array, sizes: Uint32Array): Promise<readonly boolean[]> {
  const fits: boolean[] = [];
  let from = 0;
  let to = 0;
  for (let n = 0; n < held.length;) {
    const coding = codings[n] as number;
    let [after, heldBytes, bytes] = [n, 0, 0];
    do {
      heldBytes += held[after] as number;
      bytes += sizes[after] as number;
      after++;
    } while (coding < 128 && after < held.length && (codings[after] as number) < 128);
    const [content, place] = [data.subarray(from, from + heldBytes), out.subarray(to, to + bytes)];
    if (coding < 128) fits.push(...await deflateStreams(content, held.subarray(n, after), Uint8Array.from(codings.subarray(n, after)), place, sizes.subarray(n, after)));
    else fits.push(await compressOne(content, coding, place));
    from += heldBytes;
    to += bytes;
    n = after;
  }
  return fits;
}

async function compressOne(content: Uint8Array, coding: number, out: Uint8Array): Promise<boolean> {
  const family = await loaded(coding);
  // Tens of milliseconds each, on this thread: let others run in between.
  await new Promise(setImmediate);
  const made = family === 'zstd' ? zstdFrame(content, coding) : family === 'xz' ? xzStream(content, coding) : undefined;
  const fits = made?.length === out.length;
  if (fits) out.set(made);
  return fits;
}

/** Decodes one stream into `out`, which it fills exactly. @returns false when `bytes` are no such stream, or nothing here decodes it */
export async function decodeStream(bytes: Uint8Array, coding: number, out: Uint8Array): Promise<boolean> {
  if (coding < 128) return inflateStream(bytes, codingOf(coding)?.zlib === true, out);
  const family = await loaded(coding);
  return family === 'zstd' ? decodeZstd(bytes, out) : family === 'xz' && decodeXz(bytes, out);
}

async function loaded(coding: number): Promise<'zstd' | 'xz' | undefined> {
  const family = familyOf(coding);
  const zstd = zstdOf(coding);
  if (zstd !== undefined) await (zstd.level > 0 ? loadZstd(zstd.version) : loadAnyZstd());
  else if (family === 'xz') await loadXz();
  return family === 'deflate' ? undefined : family;
}

/**
 * Whether what this installation lacks keeps it from using a delta with these streams. Loads what it needs: of zstd no more than what makes frames, which reads
 * all others as well.
 *
 * @throws ShoalError `DELTA_FEATURE`, with the name of the package
 */
export async function requireCodecs({ base, target }: Views): Promise<void> {
  const codings = new Set([...target.coding, ...base.coding]);
  const has = (family: string): boolean => Array.from(codings).some((coding) => familyOf(coding) === family);
  const lacks = (what: string, name: string): ShoalError => new ShoalError('DELTA_FEATURE', `this delta has to make ${what}: install ${name} beside shoal, or fetch content`);
  if (has('xz') && !(await loadXz())) throw lacks('xz streams', 'node-liblzma 5.1.3');
  const versions = new Set(Array.from(codings, zstdOf).flatMap((zstd) => (zstd !== undefined && zstd.level > 0 ? [zstd.version] : [])));
  for (const version of versions) {
    if (!hasZstd(version)) throw lacks('zstd frames', 'what npm did not install of its dependencies');
    await loadZstd(version);
  }
}
