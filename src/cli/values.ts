import { InvalidArgumentError, Option } from 'commander';

/** Where a publisher's home is unless another one is named. */
export const DEFAULT_HOME = '.shoal';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** A number of bytes: `512M`, `2G` or digits alone. */
export function byteCount(text: string): number {
  const [, number = '', unit = ''] = /^(\d+)([KMG]?)$/.exec(text) ?? [];
  const value = Number(number) * (UNITS[unit] ?? NaN);
  if (number === '' || !(value > 0) || !Number.isSafeInteger(value)) throw new InvalidArgumentError('give bytes, or a number with K, M or G, at most 8388607G');
  return value;
}

/** A parser of an option that takes a whole number in a range: a typing error must not become NaN and mean "no limit". */
export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(most === Number.MAX_SAFE_INTEGER ? `give a whole number, ${String(least)} at least` : `give a whole number from ${String(least)} to ${String(most)}`);
  };
}

/** Where a server listens: `--listen`, on loopback unless told otherwise. */
export function listenOption(what: string, port: number): Option {
  return new Option('--listen <host:port>', what).argParser(parseListen).default({ host: '127.0.0.1', port }, `127.0.0.1:${String(port)}`);
}

/** HOST:PORT, [IPv6]:PORT or PORT. */
export function parseListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]:|([^:[\]]+):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new InvalidArgumentError('give HOST:PORT, for example 127.0.0.1:8470');
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}
