/** `fetch.ts URL RECORD OUT`: a device that fetches one artifact from one peer into a new file, as the agent does. */
import { systemClock } from '../../src/core/clock.ts';
import type { ArtifactRecord } from '../../src/core/manifest.ts';
import { download } from '../../src/exchange/download.ts';
import { HttpSource } from '../../src/exchange/source.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { nodeFiles } from '../../src/store/files.ts';

const [url = '', record = '', out = ''] = process.argv.slice(2);
const artifact = JSON.parse(record) as ArtifactRecord;
const source = new HttpSource('peer', url, systemClock);
const start = performance.now();
let arrived = 0;
const slot = await FileSlot.open(nodeFiles, out);
await download({
  namespace: 'default', artifact, sources: [source], slot, clock: systemClock, random: Math.random,
  onProgress: (done, total) => {
    if (done === total) arrived = performance.now();
  },
});
await slot.activate(artifact.size);
const end = performance.now();
const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
console.log(JSON.stringify({ seconds: (end - start) / 1000, arrivedSeconds: (arrived - start) / 1000, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, rssMiB: Math.round(maxRSS / 1024) }));
await source.close();
