import { report } from './output.ts';
import { runProgram } from './program.ts';

// Whoever reads our output may stop before its end (`| head`): that is no failure of ours, and no stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// What nobody caught is a fault of ours. Whoever runs the program reads a sentence all the same; what it says next is not to be relied on.
process.on('uncaughtException', (error) => {
  process.exit(report(error, process.argv.includes('--json')));
});

process.exitCode = await runProgram(process.argv.slice(2));
