import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';

const MiB = 1024 * 1024;

/** Writes `mib` MiB of random bytes to `path`. */
export async function writeRandom(path: string, mib: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    const block = Buffer.alloc(MiB);
    for (let left = mib; left > 0; left--) await file.write(randomFillSync(block));
  } finally {
    await file.close();
  }
}
