// `npm run arch`: fails when an import in src/ runs upward, or sideways with a value. The rules: tools/arch/table.ts.
import { fileURLToPath } from 'node:url';
import { checkArchitecture } from './arch/check.ts';
import { table } from './arch/table.ts';

const violations = checkArchitecture(fileURLToPath(new URL('../src', import.meta.url)), table);
for (const line of violations) console.error(`src/${line}`);
if (violations.length > 0) {
  console.error(`${violations.length} imports break the architecture (tools/arch/table.ts).`);
  process.exitCode = 1;
}
