/** Time as the program sees it. Whoever waits or measures takes one, so that tests and the emulator can bring their own. */
export interface Clock {
  /** Milliseconds from an arbitrary start, never going back. Not the time of day. */
  now(): number;
  /** Runs `run` once, `ms` milliseconds from now, unless the returned function is called first. */
  after(ms: number, run: () => void): () => void;
}

/** The real one. Its timers do not keep the process alive: what is being waited for does. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};
