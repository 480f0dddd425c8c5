import { Bits } from './bits.ts';

/** The blocks and objects that one batch has put or relied on. Whole blocks: numbers, so that a big publish pins in little memory. */
export interface Pins {
  readonly blocks: Bits;
  readonly objects: Bits;
}

/**
 * Keeps gc off what unfinished batches rely on. A batch looks a chunk up and pins its block in one turn; gc asks and
 * removes the row in one turn: neither can come between. What a batch pinned stays pinned for a gc that began before
 * the batch ended, because that gc may not have seen the batch's artifacts.
 */
export class PinBoard {
  readonly #open = new Set<Pins>();
  #kept: Pins[] | undefined;

  open(): Pins {
    const pins = { blocks: new Bits(), objects: new Bits() };
    this.#open.add(pins);
    return pins;
  }

  close(pins: Pins): void {
    if (this.#open.delete(pins)) this.#kept?.push(pins);
  }

  beginCollecting(): void {
    this.#kept = [];
  }

  endCollecting(): void {
    this.#kept = undefined;
  }

  block(id: number): boolean {
    return this.#any((pins) => pins.blocks.has(id));
  }

  object(number: number): boolean {
    return this.#any((pins) => pins.objects.has(number));
  }

  #any(test: (pins: Pins) => boolean): boolean {
    for (const pins of this.#open) if (test(pins)) return true;
    return this.#kept?.some(test) ?? false;
  }
}
