/**
 * Maps `items` in order with up to `most` of them under way at once. Stops starting new ones at the first failure, and
 * leaves none unobserved.
 */
export async function* ahead<T, R>(items: AsyncIterable<T> | Iterable<T>, most: number, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const started = work(item);
      // It may fail while an earlier one is waited for; it is reported when its turn comes.
      started.catch(() => undefined);
      running.push(started);
      const first = running.length < most ? undefined : running.shift();
      if (first !== undefined) yield await first;
    }
    for (let first = running.shift(); first !== undefined; first = running.shift()) yield await first;
  } finally {
    await Promise.allSettled(running);
  }
}
