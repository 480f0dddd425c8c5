// Imported by a process under test (`node --import`): at its end writes the most memory it ever had resident, bytes, to
// the file that SHOAL_TEST_PEAK names. Read at the very end, because a look from outside may come too late.
import { readFileSync, writeFileSync } from 'node:fs';

const path = process.env['SHOAL_TEST_PEAK'];
if (path !== undefined) {
  process.on('exit', () => {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    writeFileSync(path, String(Number(kilobytes) * 1024));
  });
}
