/** Time as the program sees it. Whoever waits or measures takes one, so that tests and the emulator can bring their own. */
export interface Clock {
  /** Milliseconds from an arbitrary start, never going back. Not the time of day. */
  now(): number;
  /**
   * Runs `run` once, `ms` milliseconds from now, unless the returned function is called first. A process with nothing left
   * but a timer waits for it: a device whose only host is away has nothing else. `background` is for what nobody waits for.
   */
  after(ms: number, run: () => void, background?: 'background'): () => void;
}

/** The real one. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, run, background) => {
    const timer = setTimeout(run, ms);
    if (background !== undefined) timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};

/** A timer that runs so much later than it was due did because this process was kept from running, milliseconds. */
const KEPT_MS = 250;

/**
 * Runs `run` when something has not come in time, `ms` milliseconds from now. Where this process itself was kept from running until then, what has come is
 * looked at first: it is given as long again as it was late, once. Otherwise whoever's processor is full finds that nobody answers.
 */
export function afterLooking(clock: Clock, ms: number, run: () => void): () => void {
  const due = clock.now() + ms;
  let cancel = clock.after(ms, () => {
    const kept = clock.now() - due;
    if (kept < KEPT_MS) run();
    else cancel = clock.after(Math.min(kept, ms), run);
  });
  return () => {
    cancel();
  };
}
