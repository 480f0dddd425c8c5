/** So many at a time; the others wait in order. For short work of our own, not for clients. */
export class Turns {
  #limit: number;
  #inside = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Takes effect as turns end. */
  set limit(limit: number) {
    this.#limit = limit;
    this.#next();
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#inside--;
      this.#next();
    }
  }

  #next(): void {
    while (this.#inside < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#inside++;
      next();
    }
  }
}
