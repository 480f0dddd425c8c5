import { CHANGE_ROWS, Field } from './change.ts';
import type { Changes } from './change.ts';
import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';

/** Corrects tables of pairs of numbers: the twin of native/delta/coding/table.h (docs/delta.md, "Tables"). */
export class Tables {
  readonly #coder: BitCoder;
  readonly #changes: Changes;
  readonly #p: Uint8Array;
  readonly #t: Uint8Array;
  readonly #same = models(2 * 64);
  readonly #moved = new Uint32Array(2);
  readonly #recent = new Uint32Array(2);
  readonly #field = new Field();

  constructor(coder: BitCoder, changes: Changes, bytes: Uint8Array, target: Uint8Array) {
    this.#coder = coder;
    this.#changes = changes;
    this.#p = bytes;
    this.#t = target;
  }

  run(begin: number, end: number): void {
    const f = this.#field;
    let column = 0;
    for (let i = begin; i < end; i += 4, column ^= 1) {
      f.set(this.#coder, this.#p, this.#t, i, end);
      const by = this.#moved[column] as number;
      f.value = (f.value + by) >>> 0;
      const context = ((this.#recent[column] as number) & 7) | (((this.#recent[column ^ 1] as number) & 7) << 3);
      const right = !this.#coder.decodes && ((f.value ^ f.want) & f.mask) === 0 ? 1 : 0;
      const same = plain(this.#coder, this.#same, column * 64 + context, right);
      let more = 0;
      if (same === 0) {
        more = this.#changes.code(CHANGE_ROWS - 2 + column, f);
        this.#moved[column] = by + more;
      }
      this.#recent[column] = ((this.#recent[column] as number) << 1) | (same ^ 1);
      f.write(this.#p, i, more);
    }
  }
}
