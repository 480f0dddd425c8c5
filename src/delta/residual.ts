import { Changes } from './coding/change.ts';
import { RangeDecoder, RangeEncoder } from './coding/coder.ts';
import { FEW_HEAD, decodeFew, encodeFew } from './coding/few.ts';
import { Aside, LiteralWay, Literals } from './coding/literals.ts';
import type { BitCoder } from './coding/model.ts';
import { PASSAGES_HEAD, decodePassages } from './coding/passages.ts';
import { Numbers } from './coding/numbers.ts';
import { Sites } from './coding/sites.ts';
import { Tables } from './coding/table.ts';
import { PieceKind } from './types.ts';
import type { Pieces } from './types.ts';

/** A segment's payload: the twin of native/delta/residual.cc (docs/delta.md, "Payloads"). */

type Counts<Coder> = readonly [Coder, Coder, Coder];

function run(coder: BitCoder, counts: Counts<BitCoder>, way: number, aside: Aside, bytes: Uint8Array, target: Uint8Array, origin: number, pieces: Pieces): void {
  const changes = new Changes(coder);
  const sites = new Sites(coder, counts, changes, bytes, target);
  const tables = new Tables(coder, changes, bytes, target);
  const literals = new Literals(coder, bytes, target, aside, way);
  let at = 0;
  for (let i = 0; i < pieces.length; i += 4) {
    const end = at + (pieces[i] as number);
    const kind = pieces[i + 1];
    const base = pieces[i + 2] as number;
    if (kind === PieceKind.LITERAL) literals.run(at, end);
    else if (kind === PieceKind.BASE) sites.run(at, end, (base - at) | 0, (origin + at - base) | 0);
    else if (kind === PieceKind.FILL) sites.run(at, end, 0, 0);
    else tables.run(at, end);
    at = end;
  }
  sites.finish();
}

/**
 * The small way costs some 600 cycles a byte: it is for segments that have time to spare. Where little else is wrong, as in
 * text, it saves most: there more time may go into it.
 */
function chooseWay(prediction: Uint8Array, target: Uint8Array, pieces: Pieces): number {
  let literals = 0;
  let wrong = 0;
  let at = 0;
  for (let i = 0; i < pieces.length; i += 4) {
    const length = pieces[i] as number;
    const kind = pieces[i + 1];
    if (kind === PieceKind.LITERAL) literals += length;
    else if (kind !== PieceKind.TABLE) for (let k = at; k < at + length; k++) if (prediction[k] !== target[k]) wrong++;
    at += length;
  }
  const share = literals > 4 * wrong ? 20 : 128;
  return literals + wrong > Math.max(1024, Math.floor(target.length / share)) ? LiteralWay.NIBBLES : LiteralWay.MIXED;
}

/** `prediction` becomes the target. */
export function encodePayload(prediction: Uint8Array, target: Uint8Array, origin: number, pieces: Pieces): Uint8Array {
  const way = chooseWay(prediction, target, pieces);
  const few = encodeFew(prediction, target);
  const coder = new RangeEncoder();
  const counts = [new RangeEncoder(), new RangeEncoder(), new RangeEncoder()] as const;
  const aside = new Aside();
  run(coder, counts, way, aside, prediction, target, origin, pieces);
  const parts = [Buffer.concat(aside.taken), ...counts.map((each) => each.finish())];
  const head = parts.reduce((bits, { length }, n) => bits | (length === 0 ? 0 : 2 << n), way);
  const payload = Buffer.concat([Buffer.from([head, ...parts.flatMap(({ length }) => (length === 0 ? [] : numberBytes(length)))]), ...parts, coder.finish()]);
  return few === undefined || few.length > payload.length ? payload : few;
}

/** Seven bits a byte, the lowest first. */
function numberBytes(v: number): number[] {
  return v < 128 ? [v] : [(v & 127) | 128, ...numberBytes(v >>> 7)];
}

/** `prediction` becomes the target, or anything when the payload is damaged. False: the payload cannot be one. */
export function decodePayload(payload: Uint8Array, prediction: Uint8Array, origin: number, pieces: Pieces): boolean {
  const input = new Numbers(payload);
  const head = input.byte();
  if (head === undefined) return false;
  if (head >= PASSAGES_HEAD) return decodePassages(payload, prediction);
  if (head >= FEW_HEAD) return decodeFew(head, input, payload, prediction);
  const sizes: number[] = [];
  for (let n = 0; n < 4; n++) {
    const size = head & (2 << n) ? input.number(2 ** 28, 4) : 0;
    if (size === undefined) return false;
    sizes.push(size);
  }
  let { at } = input;
  if (sizes.reduce((sum, size) => sum + size, 0) > payload.length - at) return false;
  const next = (): Uint8Array => {
    const size = sizes.shift() ?? 0;
    at += size;
    return payload.subarray(at - size, at);
  };
  const aside = new Aside(next());
  const counts = [new RangeDecoder(next()), new RangeDecoder(next()), new RangeDecoder(next())] as const;
  run(new RangeDecoder(payload.subarray(at)), counts, head & 1, aside, prediction, prediction, origin, pieces);
  return true;
}
