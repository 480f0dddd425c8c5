/**
 * Does something for each number below `count`, `lanes` at a time. `open` makes what one lane keeps to itself, a buffer say.
 * After a failure no lane begins another number; it is thrown when all have ended.
 */
export async function inLanes(count: number, lanes: number, open: () => (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const ended = await Promise.allSettled(Array.from({ length: Math.min(lanes, count) }, async () => {
    const each = open();
    try {
      for (let number = next++; number < count; number = next++) await each(number);
    } catch (error) {
      next = Infinity;
      throw error;
    }
  }));
  for (const result of ended) if (result.status === 'rejected') throw result.reason;
}
