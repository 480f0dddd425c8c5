import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDeltaFile } from '../../src/delta/file.ts';
import { memoryBase } from '../../src/delta/predict.ts';

/** What native/test/delta_fuzz.cc reads, of one part of it: pages or payloads of the golden deltas, with pieces of every kind before these, or pairs. */
export async function writeDeltaSeeds(folder: string, part: string): Promise<void> {
  const write = (name: string, bytes: Uint8Array): void => {
    if (name.startsWith(part)) writeFileSync(join(folder, name), bytes);
  };
  for (const golden of ['golden-1', 'golden-1-linked']) {
    const file = readFileSync(new URL(`../../fixtures/delta/${golden}.delta`, import.meta.url));
    const { outline, outlineBytes } = await openDeltaFile(memoryBase(file), file.length);
    const { pages, segments, base, target } = outline;
    let at = outlineBytes;
    pages.forEach(({ size }, number) => {
      const head = Buffer.alloc(15);
      head.writeUInt32LE(0, 1);
      head.writeUInt32LE(target.size, 5);
      head.writeUInt32LE(base.size, 10);
      head[14] = 255;
      write(`page-${golden}-${String(number)}`, Buffer.concat([head, file.subarray(at, at + size)]));
      at += size;
    });
    segments.forEach(({ payload, codec, length }, number) => {
      if (payload === undefined) return;
      const bytes = file.subarray(at, at + payload.size);
      at += payload.size;
      for (let first = 0; first < 4; first++) {
        // Pieces are of at most 8191 bytes, at most 15.
        const pieces: number[] = [];
        let left = length;
        while (left > 0 && pieces.length < 15 * 4) {
          const size = Math.min(left, 8191);
          pieces.push(size & 255, size >> 8, (first + pieces.length / 4) % 4, number & 255);
          left -= size;
        }
        write(`payload-${golden}-${String(number)}-${String(first)}`, Buffer.concat([Buffer.from([1, pieces.length / 4, ...pieces, codec, 0, 0, 0, 0, 0]), bytes]));
      }
    });
  }
  // The first byte chooses where the environment does not.
  for (let seed = 0; seed < 8; seed++) write(`pair-${String(seed)}`, Buffer.from(Array.from({ length: 300 }, (_, i) => (i === 0 ? 2 : Math.imul(i + 1, 2654435761 + 977 * seed) >>> 24))));
  for (let seed = 0; seed < 8; seed++) write(`units-${String(seed)}`, Buffer.from(Array.from({ length: 300 }, (_, i) => (i === 0 ? 3 : Math.imul(i + 1, 2654435761 + 787 * seed) >>> 24))));
}
