import type { Coding } from '../store/types.ts';

/** Request headers, read as RFC 9110 says; what cannot be read is as if it was not there. */

/** The codings a client takes (RFC 9110, 12.5.3). Identity is always among them: plain clients get plain bytes. */
export function acceptedCodings(header: string | undefined): readonly Coding[] {
  for (const item of header?.split(',') ?? []) {
    const [coding = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1';
    // "*" does not count: scripts send it without a thought, and then cannot read zstd.
    if (coding === 'zstd') return /^(?:0\.\d{0,3}|1(?:\.0{0,3})?)$/.test(weight) && Number(weight) > 0 ? ['zstd', 'identity'] : ['identity'];
  }
  return ['identity'];
}

/** Whether If-None-Match names `etag` (RFC 9110, 13.1.2: weak comparison). */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const opaque = etag.replace(/^W\//, '');
  return header.split(',').some((item) => item.trim() === '*' || item.trim().replace(/^W\//, '') === opaque);
}

export interface ByteRange {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/**
 * One byte range (RFC 9110, 14.1.2). Undefined when the header is to be ignored: absent, another unit, malformed, or
 * several ranges, which a server need not serve. `unsatisfiable` is 416.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(header ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return undefined;
    const suffix = Math.min(Number(last), size);
    return suffix === 0 ? 'unsatisfiable' : { from: size - suffix, to: size };
  }
  const from = Number(first);
  const to = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < from) return undefined;
  return from >= size ? 'unsatisfiable' : { from, to };
}
