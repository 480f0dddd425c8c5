// Runs npm scripts beside each other and shows what each said when it has ended. Fails when one of them does.
import { spawn } from 'node:child_process';

const codes = await Promise.all(process.argv.slice(2).map((name) => new Promise<number | null>((resolve) => {
  const child = spawn('npm', ['run', '--silent', name], { stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => said.push(part));
  const began = performance.now();
  child.once('error', (error) => said.push(Buffer.from(`${error.message}\n`))).once('close', (code) => {
    console.log(`${name}: ${code === 0 ? 'passed' : 'FAILED'}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
    process.stdout.write(Buffer.concat(said));
    resolve(code);
  });
})));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;
