import { ShoalError } from './errors.ts';

/** Bytes a second that something may take, which may differ by the time of day. `Infinity`: as many as there are. */
export interface Rates {
  readonly otherwise: number;
  /** The first that fits counts. */
  readonly daily: readonly DailyRate[];
}

export interface DailyRate {
  /** Minutes since midnight, from 0 to 1,439: it holds from the one until the other, over midnight where that comes first. */
  readonly from: number;
  readonly until: number;
  readonly rate: number;
}

/** Slower than this nothing ends before time-outs do, bytes a second. */
export const RATE_LEAST = 16_384;
const DAILY_MOST = 24;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Reads `RATE[,HH:MM-HH:MM=RATE]…`: bytes a second, with K, M or G, or `none` for no limit. `500K,22:00-06:00=none` is half
 * a megabyte by day. Throws `BAD_RATE`.
 */
export function parseRates(text: string): Rates {
  const parts = text.split(',');
  if (parts.length > DAILY_MOST + 1) throw bad(text);
  const daily: DailyRate[] = [];
  let otherwise: number | undefined;
  for (const part of parts) {
    const [, fromHour, fromMinute, untilHour, untilMinute, daysRate] = /^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})=(.*)$/.exec(part) ?? [];
    if (daysRate !== undefined) {
      const [from, until] = [minuteOf(fromHour, fromMinute), minuteOf(untilHour, untilMinute)];
      if (from === undefined || until === undefined) throw bad(text);
      daily.push({ from: from % DAY, until: until % DAY, rate: rateOf(daysRate, text) });
    } else {
      if (otherwise !== undefined) throw bad(text);
      otherwise = rateOf(part, text);
    }
  }
  return { otherwise: otherwise ?? Infinity, daily };
}

const DAY = 24 * 60;

/** What holds at `minute` of the day. */
export function rateAt({ daily, otherwise }: Rates, minute: number): number {
  const holds = daily.find(({ from, until }) => (from < until ? minute >= from && minute < until : minute >= from || minute < until));
  return holds?.rate ?? otherwise;
}

/** The minute of the day that it is here, `now` in milliseconds since the epoch. */
export function minuteOfDay(now: number): number {
  const date = new Date(now);
  return date.getHours() * 60 + date.getMinutes();
}

function rateOf(text: string, whole: string): number {
  if (text === 'none') return Infinity;
  const [, number = '', unit = ''] = /^(\d{1,12})([KMG]?)$/.exec(text) ?? [];
  const rate = Number(number) * (UNITS[unit] ?? NaN);
  if (number === '' || !(rate > 0)) throw bad(whole);
  if (rate < RATE_LEAST) throw new ShoalError('BAD_RATE', `${text} bytes a second are too few: what travels is given up before it has arrived`, { ids: { rate: text }, hint: `The least is ${String(RATE_LEAST / 1024)}K.` });
  return rate;
}

function minuteOf(hour: string | undefined, minute: string | undefined): number | undefined {
  const [hours, minutes] = [Number(hour), Number(minute)];
  return minutes < 60 && hours * 60 + minutes <= DAY ? hours * 60 + minutes : undefined;
}

function bad(text: string): ShoalError {
  return new ShoalError('BAD_RATE', `"${text.slice(0, 100)}" is not a limit`, { ids: { rate: text.slice(0, 100) }, hint: 'Give bytes a second, and others for times of day: 500K,22:00-06:00=4M. "none" is no limit.' });
}
