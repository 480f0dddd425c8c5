// A process that runs command lines as often as it is told to: each line of its input is the arguments of one, each line it answers
// with what became of it. Loading the program once instead of a hundred times is most of what a hundred short commands cost.
// Input and answers are standard input and output, or two named pipes.
import { createReadStream, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { runProgram } from '../../src/cli/program.ts';

const [questions, answers] = process.argv.slice(2);
// Opening one waits for the other side, so in this order.
const input = questions === undefined ? process.stdin : createReadStream('', { fd: openSync(questions, 'r') });
const reply = answers === undefined ? 1 : openSync(answers, 'w');

let [output, errors] = ['', ''];
process.stdout.write = (text: string | Uint8Array): boolean => { output += String(text); return true; };
process.stderr.write = (text: string | Uint8Array): boolean => { errors += String(text); return true; };
Object.defineProperty(process.stderr, 'isTTY', { value: false });

for await (const line of createInterface({ input })) {
  [output, errors] = ['', ''];
  const code = await runProgram(JSON.parse(line) as string[]);
  const bytes = Buffer.from(`${JSON.stringify({ code, errors, output, peak: process.resourceUsage().maxRSS * 1024 })}\n`);
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(reply, bytes, at);
}
process.exit();
