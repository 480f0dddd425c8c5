import { RUNS_HEADER_MAX, RUNS_MAX_PRODUCTS } from './limits.ts';
import { isName } from './names.ts';

/** A device has the release of `product` with this sequence number in place. */
export interface Run {
  readonly product: string;
  readonly sequence: number;
}

/** What a device says that it runs. */
export interface RunsReport {
  /** Who it is where there are no certificates: a random name that stays with its state. Where there are, they say. */
  readonly reporter: string;
  readonly runs: readonly Run[];
}

/** As it stands in the header: `REPORTER os=12,maps=3`. What does not fit is left out. */
export function formatRuns({ reporter, runs }: RunsReport): string {
  let text = reporter;
  for (const [at, { product, sequence }] of runs.slice(0, RUNS_MAX_PRODUCTS).entries()) {
    const next = `${text}${at === 0 ? ' ' : ','}${product}=${String(sequence)}`;
    if (next.length > RUNS_HEADER_MAX) break;
    text = next;
  }
  return text;
}

/** Reads the header; undefined when it is none. */
export function parseRuns(text: string): RunsReport | undefined {
  if (text.length > RUNS_HEADER_MAX) return undefined;
  const [reporter = '', list = '', ...more] = text.split(' ');
  const runs = list === '' ? [] : list.split(',').map((each) => {
    const at = each.lastIndexOf('=');
    return { product: each.slice(0, at), sequence: sequenceOf(each.slice(at + 1)) };
  });
  const good = isName(reporter) && more.length === 0 && runs.length <= RUNS_MAX_PRODUCTS && runs.every(({ product, sequence }) => isName(product) && sequence >= 0);
  return good ? { reporter, runs } : undefined;
}

/** -1 for what is no sequence number in canonical form. */
function sequenceOf(text: string): number {
  return /^(0|[1-9][0-9]{0,14})$/.test(text) ? Number(text) : -1;
}
