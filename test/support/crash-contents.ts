const SECTOR = 512;

/** The bytes of one file of a medium that may lose what was not synced. */
export class Contents {
  #bytes: Uint8Array = new Uint8Array(0);
  /** Set while the bytes are somebody else's: they are copied before they change. Thousands of media share what none of them touched. */
  #borrowed = false;
  size = 0;

  static of(bytes: Uint8Array): Contents {
    const contents = new Contents();
    contents.#bytes = bytes;
    contents.#borrowed = true;
    contents.size = bytes.byteLength;
    return contents;
  }

  write(bytes: Uint8Array, position: number): void {
    this.resize(Math.max(this.size, position + bytes.byteLength));
    this.#own(this.size);
    this.#bytes.set(bytes, position);
  }

  resize(size: number): void {
    if (size > this.#bytes.byteLength) this.#own(Math.max(size, this.#bytes.byteLength * 2));
    if (size < this.size) {
      this.#own(this.size);
      this.#bytes.fill(0, size, this.size);
    }
    this.size = size;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** What is there, not to change any more: whatever comes next is written to a copy. */
  frozen(): Uint8Array {
    this.#borrowed = true;
    return this.view();
  }

  /** For whoever changes bytes in place. */
  own(): Uint8Array {
    this.#own(this.size);
    return this.view();
  }

  #own(capacity: number): void {
    if (!this.#borrowed && capacity <= this.#bytes.byteLength) return;
    const own = new Uint8Array(Math.max(capacity, this.size));
    own.set(this.view());
    this.#bytes = own;
    this.#borrowed = false;
  }
}

/** Writes some sectors of a write: a prefix, or any subset; the file may have grown over the missing ones. */
export function tear(file: Contents, position: number, bytes: Uint8Array, random: () => number): void {
  const asPrefix = random() < 0.5;
  let cut = false;
  if (random() < 0.5) file.resize(Math.max(file.size, position + bytes.byteLength));
  for (let at = 0; at < bytes.byteLength; ) {
    const end = Math.min(bytes.byteLength, at + SECTOR - ((position + at) % SECTOR));
    const lost = random() < (asPrefix ? 0.2 : 0.5);
    cut ||= lost;
    if (asPrefix ? !cut : !lost) file.write(bytes.subarray(at, end), position + at);
    at = end;
  }
}
