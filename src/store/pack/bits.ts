const PAGE_BITS = 32_768;

/** A growable set of whole numbers, 4 KiB of memory for every 32,768 neighbours that are in use. */
export class Bits {
  readonly #pages = new Map<number, Uint8Array>();

  has(number: number): boolean {
    const bit = number % PAGE_BITS;
    return ((this.#pages.get(Math.floor(number / PAGE_BITS))?.[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** Says whether the number is new. */
  add(number: number): boolean {
    const page = Math.floor(number / PAGE_BITS);
    const bit = number % PAGE_BITS;
    let bytes = this.#pages.get(page);
    if (bytes === undefined) this.#pages.set(page, (bytes = new Uint8Array(PAGE_BITS / 8)));
    const before = bytes[bit >> 3] ?? 0;
    bytes[bit >> 3] = before | (1 << (bit & 7));
    return (before & (1 << (bit & 7))) === 0;
  }

  delete(number: number): void {
    const bit = number % PAGE_BITS;
    const bytes = this.#pages.get(Math.floor(number / PAGE_BITS));
    if (bytes !== undefined) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(1 << (bit & 7));
  }
}
