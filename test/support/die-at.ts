// Imported by a process under test (`node --import`): numbers everything it does to the file system that is to last, and
// kills it with SIGKILL at the operation that SHOAL_TEST_DIE_AT names. A write is torn: half of it is there. Writes how many
// operations there were to SHOAL_TEST_OPERATIONS when the process ends by itself.
import { writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { fileURLToPath } from 'node:url';

const dieAt = Number(process.env['SHOAL_TEST_DIE_AT'] ?? Infinity);
const report = process.env['SHOAL_TEST_OPERATIONS'];
let operations = 0;

async function counted(last?: () => Promise<unknown>): Promise<void> {
  if (++operations !== dieAt) return;
  await last?.();
  process.kill(process.pid, 'SIGKILL');
  // Nothing after this point happens, however late the signal is delivered.
  await new Promise(() => undefined);
}

const handle = await promises.open(fileURLToPath(import.meta.url));
const prototype = Object.getPrototypeOf(handle) as FileHandle;
await handle.close();

type Write = (bytes: Uint8Array, offset: number, length: number, position: number) => Promise<unknown>;
const write = prototype.write as unknown as Write;
prototype.write = async function (this: FileHandle, bytes: Uint8Array, offset: number, length: number, position: number) {
  await counted(() => write.call(this, bytes, offset, length >> 1, position));
  return write.call(this, bytes, offset, length, position);
} as unknown as FileHandle['write'];

function wrap<Target extends object>(target: Target, name: keyof Target): void {
  const original = target[name] as (...args: readonly unknown[]) => Promise<unknown>;
  Reflect.set(target, name, async function (this: unknown, ...args: readonly unknown[]) {
    await counted();
    return original.apply(this, [...args]);
  });
}
for (const name of ['sync', 'datasync', 'truncate'] as const) wrap(prototype, name);
for (const name of ['rename', 'rm', 'mkdir'] as const) wrap(promises, name);
syncBuiltinESMExports();

if (report !== undefined) process.on('exit', () => { writeFileSync(report, String(operations)); });
