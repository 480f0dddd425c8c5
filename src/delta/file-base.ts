import { read } from 'node:fs';
import type { BaseReader } from './predict.ts';

/** A file as a base. Callbacks: a promise of `FileHandle` costs as much again as the read of a small cover. */
export function fileBase(fd: number): BaseReader {
  return {
    read: (buffer, offset, length, position) =>
      new Promise((resolve, reject) => {
        read(fd, buffer, offset, length, position, (error, bytesRead) => {
          if (error === null) resolve({ bytesRead });
          else reject(error);
        });
      }),
  };
}
