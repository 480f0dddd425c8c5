/** Made-up files that are like what deltas are made of, the same for the same seed. */

export function random(seed: number): () => number {
  let x = seed >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x;
  };
}

/** Something like a program: instructions, calls to places in itself, a table of addresses, text, zeros, noise. */
export function program(seed: number, size: number): Buffer {
  const next = random(seed);
  const out = Buffer.alloc(size);
  let at = 0;
  while (at < size) {
    const kind = next() % 8;
    const end = Math.min(size, at + (next() % 2000));
    if (kind === 0) out.fill(0, at, end);
    else if (kind === 1) for (let i = at; i < end; i++) out[i] = next();
    else if (kind === 2) for (let i = at; i < end; i++) out[i] = 97 + (next() % 7);
    else if (kind === 3) for (let i = at; i + 8 <= end; i += 8) out.writeUInt32LE(0x40_0000 + (next() % Math.max(1, size)), i);
    else {
      for (let i = at; i < end; ) {
        if (next() % 6 === 0 && i + 5 <= end) {
          out[i] = 0xe8;
          out.writeInt32LE((next() % Math.max(1, size)) - i - 5, i + 1);
          i += 5;
        } else out[i++] = [0x48, 0x89, 0xc7, 0x8b, 0x45, 0xf8, 0x90][next() % 7] as number;
      }
    }
    at = Math.max(end, at + 1);
  }
  return out;
}

/** `base` after some insertions and removals, calls and addresses following what moved, and a few bytes that differ. */
export function relinked(seed: number, base: Buffer, changes: number): Buffer {
  const next = random(seed ^ 0x5bd1_e995);
  const cuts = Array.from({ length: changes }, () => ({ at: next() % Math.max(1, base.length), add: next() % 300, drop: next() % 40 })).sort((a, b) => a.at - b.at);
  const moved = (place: number): number => cuts.reduce((sum, { at, add, drop }) => (at < place ? sum + add - drop : sum), place);
  const copy = Buffer.from(base);
  for (let i = 0; i + 5 <= base.length; i++) {
    if (base[i] !== 0xe8) continue;
    const to = i + 5 + base.readInt32LE(i + 1);
    if (to >= 0 && to < base.length) copy.writeInt32LE((moved(to) - moved(i) - 5) | 0, i + 1);
  }
  for (let n = next() % 20; n > 0 && base.length > 0; n--) copy[next() % base.length] = next();
  const parts: Buffer[] = [];
  let at = 0;
  for (const { at: cut, add, drop } of cuts) {
    if (cut < at) continue;
    parts.push(copy.subarray(at, cut), program(next(), add));
    at = Math.min(base.length, cut + drop);
  }
  parts.push(copy.subarray(at));
  return Buffer.concat(parts);
}
