import { InvalidArgumentError } from 'commander';

/** A parser of an option that takes a whole number in a range: a typing error must not become NaN and mean "no limit". */
export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(most === Number.MAX_SAFE_INTEGER ? `give a whole number, ${String(least)} at least` : `give a whole number from ${String(least)} to ${String(most)}`);
  };
}
