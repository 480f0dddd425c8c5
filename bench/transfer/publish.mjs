// publish FILE PAGES: cuts and hashes FILE into one artifact, keeps its index pages in PAGES, prints its record and number of spans.
import { ingestArtifact } from '../../dist/publish/artifact.js';
import { nodeFiles } from '../../dist/store/files.js';
import { PageFile } from '../../dist/store/page-file.js';

const [path = '', pagesPath = ''] = process.argv.slice(2);
const pages = [];
let spans = 0;
const batch = {
  putSpan: async () => 0,
  putPage: async (page) => {
    pages.push(page);
    if (page.page.level === 0) spans++;
  },
};
const { record } = await ingestArtifact(batch, { path, name: 'bench' }, { namespace: 'default' });
const kept = await PageFile.open(nodeFiles, pagesPath, record.root);
for (const page of pages) await kept.put(page);
await kept.close();
console.log(JSON.stringify({ record, spans }));
