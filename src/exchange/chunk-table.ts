import type { ObjectId } from '../core/ids.ts';

/** Entries at the start; doubled whenever half of them are taken. A power of two. */
const FIRST_SLOTS = 1024;

/**
 * Where chunks lie, for as many as a device's files have: 20 bytes each in typed arrays, where a map of ids would take ten
 * times that. Knows an id by its first 64 bits only: whoever takes a chunk hashes it, so a mistake finds nothing.
 */
export class ChunkTable {
  #high = new Uint32Array(FIRST_SLOTS);
  #low = new Uint32Array(FIRST_SLOTS);
  /** Offset plus one; 0 is a free entry. Doubles count exactly beyond the largest file. */
  #offsets = new Float64Array(FIRST_SLOTS);
  #files = new Uint32Array(FIRST_SLOTS);
  #count = 0;

  /** Notes the first place of a chunk; later ones change nothing. `file` is a number of the caller's choice. */
  note(id: ObjectId, file: number, offset: number): void {
    if (this.#count * 2 >= this.#offsets.length) this.#grow();
    const [high, low] = halves(id);
    const at = this.#find(high, low);
    if (this.#offsets[at] !== 0) return;
    this.#put(at, high, low, file, offset + 1);
    this.#count++;
  }

  place(id: ObjectId): { readonly file: number; readonly offset: number } | undefined {
    const at = this.#find(...halves(id));
    const offset = this.#offsets[at] ?? 0;
    return offset === 0 ? undefined : { file: this.#files[at] ?? 0, offset: offset - 1 };
  }

  /** The entry of the id, or the free one where it would be. */
  #find(high: number, low: number): number {
    const mask = this.#offsets.length - 1;
    // Ids are hashes: any of their bits are as good as a hash of them.
    for (let at = low & mask; ; at = (at + 1) & mask) {
      if (this.#offsets[at] === 0 || (this.#high[at] === high && this.#low[at] === low)) return at;
    }
  }

  #put(at: number, high: number, low: number, file: number, offset: number): void {
    this.#high[at] = high;
    this.#low[at] = low;
    this.#files[at] = file;
    this.#offsets[at] = offset;
  }

  #grow(): void {
    const [high, low, offsets, files] = [this.#high, this.#low, this.#offsets, this.#files];
    const slots = offsets.length * 2;
    this.#high = new Uint32Array(slots);
    this.#low = new Uint32Array(slots);
    this.#offsets = new Float64Array(slots);
    this.#files = new Uint32Array(slots);
    for (const [at, offset] of offsets.entries()) {
      if (offset === 0) continue;
      this.#put(this.#find(high[at] ?? 0, low[at] ?? 0), high[at] ?? 0, low[at] ?? 0, files[at] ?? 0, offset);
    }
  }
}

function halves(id: ObjectId): [high: number, low: number] {
  return [Number.parseInt(id.slice(0, 8), 16), Number.parseInt(id.slice(8, 16), 16)];
}
