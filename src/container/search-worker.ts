/** The other side of `SearchThreads`: looks for what made a stream and gives back what it holds. */
import { parentPort } from 'node:worker_threads';
import { findWay } from './others.ts';
import type { WaySearch } from './others.ts';
import type { SearchAnswer } from './search-threads.ts';

const port = parentPort;
port?.on('message', (what: WaySearch) => {
  void answer(what).then((found) => { port.postMessage(found, 'found' in found ? [found.found.content.buffer as ArrayBuffer] : []); });
});

async function answer(what: WaySearch): Promise<SearchAnswer> {
  try {
    return { found: await findWay(what) };
  } catch (error) {
    return { error };
  }
}
