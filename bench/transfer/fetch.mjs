// fetch URL RECORD OUT: a device that fetches one artifact from one peer into a new file, as the agent does.
import { systemClock } from '../../dist/core/clock.js';
import { download } from '../../dist/exchange/download.js';
import { HttpSource } from '../../dist/exchange/source.js';
import { HttpUpstream } from '../../dist/exchange/upstream.js';
import { FleetClient } from '../../dist/identity/tls.js';
import { memberIn } from './fleet.mjs';
import { FileSlot } from '../../dist/install/file-slot.js';
import { keepHeapSmall } from '../../dist/kernel/heap.js';
import { nodeFiles } from '../../dist/store/files.js';

const [url = '', json = '', out = ''] = process.argv.slice(2);
const artifact = JSON.parse(json);
keepHeapSmall();
let syncs = 0;
/** The file system of this machine, with its syncs counted. */
const files = {
  ...nodeFiles,
  open: async (...of) => {
    const file = await nodeFiles.open(...of);
    const sync = file.sync.bind(file);
    file.sync = async () => {
      syncs++;
      await sync();
    };
    return file;
  },
};
const link = process.env.BENCH_FLEET === undefined ? undefined : new FleetClient(await memberIn(process.env.BENCH_FLEET));
const linked = link && { link: { host: link.optionsFor('host'), neighbour: link.optionsFor('neighbour'), heard: () => undefined }, expected: 'neighbour' };
const source = new HttpSource('peer', url, systemClock, new HttpUpstream(url, systemClock, linked));
const cpu = () => {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  return (userCPUTime + systemCPUTime) / 1e6;
};
const started = { at: performance.now(), cpu: cpu() };
let arrived = 0;
const slot = await FileSlot.open(files, out);
await download({
  namespace: 'default', artifact, sources: [source], slot, clock: systemClock, random: Math.random,
  onProgress: (done, total) => {
    if (done === total) arrived = performance.now();
  },
});
await slot.activate(artifact.size);
const seconds = (performance.now() - started.at) / 1000;
console.log(JSON.stringify({ seconds, arrivedSeconds: (arrived - started.at) / 1000, cpuSeconds: cpu() - started.cpu, syncs, rssMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));
await source.close();
