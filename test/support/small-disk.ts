import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needsDebian, needsRoot } from './needs.ts';

/** True, having said why, where no small file system can be mounted. */
export function needsSmallDisk(): boolean {
  return needsRoot('to mount a small file system') || needsDebian('e2fsprogs', 'mkfs.ext4');
}

export interface SmallDisk {
  /** Where it is mounted. */
  readonly path: string;
  /** Takes up all of it but about `bytes`; 0 leaves not one block. */
  leave(bytes: number): void;
  /** Gives back what was taken. */
  empty(): void;
  close(): void;
}

/** The system wants some blocks for itself; the last of them are taken one by one. */
const ROUGHLY = 1024 * 1024;

/** A real ext4 of `bytes` on a loop device: what a full disk says is what the kernel says. */
export function smallDisk(bytes: number): SmallDisk {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-disk-'));
  const [image, path] = [join(directory, 'image'), join(directory, 'mount')];
  writeFileSync(image, '');
  truncateSync(image, bytes);
  mkdirSync(path);
  // No blocks kept back for root: the tests run as root.
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, path]);
  const filler = join(path, 'filler');
  return {
    path,
    leave: (rest) => {
      const { bavail, bsize } = statfsSync(path);
      execFileSync('fallocate', ['-l', String(bavail * bsize - Math.max(rest, ROUGHLY)), filler]);
      if (rest > 0) return;
      for (const file = openSync(filler, 'a'); ; ) {
        try {
          writeSync(file, Buffer.alloc(bsize));
        } catch {
          // No space left on the device: that is what was wanted.
          closeSync(file);
          return;
        }
      }
    },
    empty: () => { rmSync(filler, { force: true }); },
    close: () => {
      execFileSync('umount', ['-l', path]);
      rmSync(directory, { recursive: true });
    },
  };
}
