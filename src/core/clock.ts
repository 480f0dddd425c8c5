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
