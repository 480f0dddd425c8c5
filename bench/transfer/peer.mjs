// peer FILE PAGES RECORD SPANS: a device that serves a file it has, as the agent does: every chunk hashed as it leaves.
import { systemClock } from '../../dist/core/clock.js';
import { keepHeapSmall } from '../../dist/kernel/heap.js';
import { memberIn } from './fleet.mjs';
import { ServedFile } from '../../dist/roles/device/served-file.js';
import { FileContent } from '../../dist/serve/file-content.js';
import { createSurface } from '../../dist/serve/surface.js';
import { nodeFiles } from '../../dist/store/files.js';
import { PageFile } from '../../dist/store/page-file.js';

const [path = '', pagesPath = '', json = '', spans = ''] = process.argv.slice(2);
const record = JSON.parse(json);
keepHeapSmall();
const served = new ServedFile({ namespace: 'default', root: record.root }, record.size, Number(spans), await nodeFiles.open(path, 'read'), await PageFile.open(nodeFiles, pagesPath, record.root), systemClock, { product: 'artifact', version: '1' });
served.addAll();
const content = new FileContent();
content.add(served);
const access = process.env.BENCH_FLEET === undefined ? {} : { access: { member: await memberIn(process.env.BENCH_FLEET), admits: () => true, uses: async () => [] } };
const surface = await createSurface({ role: 'agent', version: '0', content, ...access });
console.log(JSON.stringify({ url: await surface.listen('127.0.0.1', 0) }));
process.stdin.resume().on('end', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  console.log(JSON.stringify({ rssMiB: Math.round(maxRSS / 1024), cpuSeconds: (userCPUTime + systemCPUTime) / 1e6 }));
  process.exit(0);
});
