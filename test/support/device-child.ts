// A process that runs `shoal fetch` as often as it is told to: each line on standard input is the arguments of one, each line on
// standard output what became of it. Loading the program once instead of a hundred times is most of what a hundred fetches cost.
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { addFetch } from '../../src/cli/fetch.ts';
import { report } from '../../src/cli/output.ts';

const tell = process.stdout.write.bind(process.stdout);
let [out, errors] = ['', ''];
process.stdout.write = (text: string | Uint8Array): boolean => { out += String(text); return true; };
process.stderr.write = (text: string | Uint8Array): boolean => { errors += String(text); return true; };

for await (const line of createInterface({ input: process.stdin })) {
  [out, errors] = ['', ''];
  const program = new Command('shoal').exitOverride();
  addFetch(program);
  let code = 0;
  try {
    await program.parseAsync(JSON.parse(line) as string[], { from: 'user' });
  } catch (error) {
    code = report(error, true);
  }
  tell(`${JSON.stringify({ code, errors, out, peak: process.resourceUsage().maxRSS * 1024 })}\n`);
}
