// Imported by a process under test (`node --import`): interrupts it (SIGINT) as soon as it says something on standard error. From
// outside the signal comes when the machine gets to it: the process may have ended by then.
const write = process.stderr.write.bind(process.stderr) as (...args: readonly unknown[]) => boolean;
let interrupted = false;

process.stderr.write = (...args: readonly unknown[]): boolean => {
  const taken = write(...args);
  if (!interrupted) process.kill(process.pid, 'SIGINT');
  interrupted = true;
  return taken;
};
