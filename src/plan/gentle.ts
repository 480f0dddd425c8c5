/**
 * How fast to fetch over a line that others use as well, so that they do not notice: pure. After LEDBAT (RFC 6817) and its
 * receiver-driven form (RFC 9840): what is fetched may make the line's queue so long and no longer. As soon as somebody else
 * fills the queue, this one yields; as soon as the line is free, it takes what there is.
 *
 * Not at the sender, as in LEDBAT itself: the sender may be a cache that is not ours. Not by one-way delay, which HTTP does
 * not tell: small questions are asked beside what is fetched, and how much longer their answers take than they did on a
 * quiet line is the queue.
 */

/** How long the queue may become by what is fetched: half of what LEDBAT++ takes, for home routers keep some 50 ms at least. Milliseconds. */
const TARGET_MS = 25;
/** On a slow line a few packets are a queue already; RFC 6817 allows no more than 100 ms. */
const TARGET_PACKETS = 6;
const TARGET_MOST_MS = 100;
const PACKET_BYTES = 1_500;
/** Of so many answers the fastest counts: what a processor was late with is no queue (RFC 6817, CURRENT_FILTER). */
const FILTER = 3;
/** How long an answer from a quiet line is remembered, milliseconds, in so many parts: roads change (RFC 6817, BASE_HISTORY). */
const BASE_MS = 600_000;
const BASE_PARTS = 10;
/** With every answer: the most it becomes faster, and slower. */
const UP = 0.1;
const DOWN = 0.15;
/** Whatever others do, so much of what was reached lately: on a line that is never free an update comes all the same. */
const LEAST_SHARE = 0.1;
/** Never below this, bytes a second: time-outs would come first. */
const LEAST = 16_384;
/** How much faster it may be tried to go than it went. */
const AHEAD = 1.5;

export class GentleRate {
  readonly #now: () => number;
  /** Fastest answers of parts of the time, newest last. */
  readonly #bases: { readonly since: number; ms: number }[] = [];
  readonly #recent: number[] = [];
  /** Since the answer before. */
  #took = 0;
  #since: number;
  /** Bytes a second lately, and the most there were. */
  #speed = 0;
  #best = 0;
  #rate = Infinity;
  /** Answers since it became slower. */
  #cut = 0;

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  /** The most to fetch now, bytes a second. */
  get rate(): number {
    return this.#rate;
  }

  /** So many bytes came. */
  took(bytes: number): void {
    this.#took += bytes;
  }

  /** Nothing was fetched for a while: what was measured before says nothing of what comes now, but for the quiet line. */
  rested(): void {
    this.#recent.length = 0;
    this.#took = 0;
    this.#since = this.#now();
    this.#rate = Infinity;
    this.#speed = 0;
    this.#best = 0;
  }

  /** An answer took `ms`. */
  answered(ms: number): void {
    const now = this.#now();
    this.#note(ms, now);
    const seconds = (now - this.#since) / 1000;
    if (seconds < 0.1) return;
    const speed = this.#took / seconds;
    this.#speed = this.#speed === 0 ? speed : this.#speed + (speed - this.#speed) * Math.min(1, seconds);
    // What was best is forgotten in some minutes: lines change.
    this.#best = Math.max(this.#speed, this.#best * 0.999);
    this.#took = 0;
    this.#since = now;
    if (this.#recent.length < FILTER) return;
    const queue = Math.min(...this.#recent) - this.#base;
    const target = Math.min(TARGET_MOST_MS, Math.max(TARGET_MS, (TARGET_PACKETS * PACKET_BYTES * 1000) / Math.max(1, this.#speed)));
    const off = Math.max(-1, (target - queue) / target);
    if (off >= 0) {
      if (this.#rate === Infinity) return;
      this.#rate = Math.min(this.#rate * (1 + UP * off), Math.max(LEAST, this.#speed * AHEAD));
      this.#cut = 0;
    } else if (this.#cut++ % FILTER === 0) {
      // Until what was done shows in every answer that counts, nothing more is. Nobody goes slower because of a limit that it does not reach.
      this.#rate = Math.min(this.#rate, this.#speed) * (1 + DOWN * off);
    }
    this.#rate = Math.max(this.#rate, LEAST, this.#best * LEAST_SHARE);
  }

  get #base(): number {
    return Math.min(...this.#bases.map(({ ms }) => ms));
  }

  #note(ms: number, now: number): void {
    const last = this.#bases.at(-1);
    if (last === undefined || now - last.since > BASE_MS / BASE_PARTS) this.#bases.push({ since: now, ms });
    else last.ms = Math.min(last.ms, ms);
    while (now - (this.#bases[0]?.since ?? now) > BASE_MS) this.#bases.shift();
    this.#recent.push(ms);
    if (this.#recent.length > FILTER) this.#recent.shift();
  }
}
