import type { Discovery, Seen } from './types.ts';

/** Several ways to learn who is there, as one. A host that is seen in two ways is one host, as the first of them saw it. */
export function severalWays(ways: readonly Discovery[]): Discovery | undefined {
  const [only, ...more] = ways;
  if (only === undefined || more.length === 0) return only;
  return {
    get seen() {
      const seen = new Map<string, Seen>();
      for (const way of ways) for (const each of way.seen) if (!seen.has(each.instance)) seen.set(each.instance, each);
      return [...seen.values()];
    },
    ask: () => {
      for (const way of ways) way.ask();
    },
    close: async () => {
      await Promise.all(ways.map((way) => way.close()));
    },
  };
}
