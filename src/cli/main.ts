import { runProgram } from './program.ts';

// Whoever reads our output may stop before its end (`| head`): that is no failure of ours, and no stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await runProgram(process.argv.slice(2));
