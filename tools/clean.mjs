// Removes build output folders named on the command line (portable `rm -rf`).
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
