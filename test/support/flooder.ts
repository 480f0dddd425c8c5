// A process that floods a host from one address until it is killed: `node flooder.ts NAME URL PAGE_PATH`. It says how many turns
// its lanes have made, a line each second.
import { FLOODS } from './floods.ts';

const [name = '', url = '', pagePath = ''] = process.argv.slice(2);
const [lanes, of] = FLOODS[name] ?? [0, () => () => Promise.resolve()];
const work = of(url, pagePath);
let turns = 0;
setInterval(() => process.stdout.write(`${String(turns)}\n`), 250);
await Promise.all(Array.from({ length: lanes }, async () => {
  for (;;) {
    await work();
    turns++;
  }
}));
