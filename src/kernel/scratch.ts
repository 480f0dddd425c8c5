import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import { native } from './native.ts';

/** Whether this process can have memory whose pages lie in a file while they are not used: the native kernels on Linux. */
export const canScratch = native !== undefined && process.platform === 'linux';

/**
 * `size` bytes that are a file in `folder`, without a name, gone when they are garbage or the process ends. They count as memory of
 * the process only while they are used, see `keepBelow`.
 *
 * @throws ShoalError `NO_SCRATCH` when there is no room in the folder, or it cannot be written
 */
export function scratchMemory(folder: string, size: number): Buffer {
  if (size === 0) return Buffer.alloc(0);
  const path = join(folder, `.shoal-${String(process.pid)}-${randomBytes(6).toString('hex')}.tmp`);
  const made = native?.scratchMemory(path, size) ?? 'the native kernels are not here';
  if (typeof made === 'string') throw new ShoalError('NO_SCRATCH', `cannot set aside ${String(size)} bytes in ${folder}: ${made}`, { ids: { path: folder } });
  return Buffer.from(made.buffer, made.byteOffset, made.byteLength);
}

/** For work that fills or reads scratch memory: after every few MiB, so that `keepBelow` holds at once. */
export function settleScratch(): void {
  native?.scratchCheck();
}

/**
 * Does `work` while pages of scratch memory leave the process whenever it has more than `bytes` in memory.
 *
 * @throws ShoalError `NO_SCRATCH` when the system does not say how much it has
 */
export async function keepBelow<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  if (native?.scratchKeepBelow(bytes) !== true) throw new ShoalError('NO_SCRATCH', 'this system does not say how much memory a process has');
  try {
    return await work();
  } finally {
    native.scratchKeepBelow(0);
  }
}
