import { Changes } from './change.ts';
import { RangeDecoder, RangeEncoder } from './coder.ts';
import { Aside, LiteralWay, Literals } from './literals.ts';
import type { BitCoder } from './model.ts';
import { Sites } from './sites.ts';
import { Tables } from './table.ts';
import { PieceKind } from './types.ts';
import type { Pieces } from './types.ts';

/** A segment's payload: the twin of native/delta/residual.cc (docs/delta.md, "Payloads"). */

const HEAD = 7;

function run(coder: BitCoder, cold: BitCoder, way: number, aside: Aside, bytes: Uint8Array, target: Uint8Array, origin: number, pieces: Pieces): void {
  const changes = new Changes(coder);
  const sites = new Sites(coder, cold, changes, bytes, target);
  const tables = new Tables(coder, changes, bytes, target);
  const literals = new Literals(coder, bytes, target, aside, way);
  let at = 0;
  for (let i = 0; i < pieces.length; i += 3) {
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

/** The small way costs some 600 cycles a byte: it is for segments that have time to spare. */
function chooseWay(prediction: Uint8Array, target: Uint8Array, pieces: Pieces): number {
  let literals = 0;
  let wrong = 0;
  let at = 0;
  for (let i = 0; i < pieces.length; i += 3) {
    const length = pieces[i] as number;
    const kind = pieces[i + 1];
    if (kind === PieceKind.LITERAL) literals += length;
    else if (kind !== PieceKind.TABLE) for (let k = at; k < at + length; k++) if (prediction[k] !== target[k]) wrong++;
    at += length;
  }
  return literals + wrong > Math.max(1024, Math.floor(target.length / 128)) ? LiteralWay.NIBBLES : LiteralWay.MIXED;
}

/** `prediction` becomes the target. */
export function encodePayload(prediction: Uint8Array, target: Uint8Array, origin: number, pieces: Pieces): Uint8Array {
  const way = chooseWay(prediction, target, pieces);
  const coder = new RangeEncoder();
  const cold = new RangeEncoder();
  const aside = new Aside();
  run(coder, cold, way, aside, prediction, target, origin, pieces);
  const coded = coder.finish();
  const distances = cold.finish();
  const passed = aside.taken.reduce((sum, piece) => sum + piece.length, 0);
  const payload = Buffer.alloc(HEAD + passed + distances.length + coded.length);
  payload[0] = way;
  payload.writeUIntLE(passed, 1, 3);
  payload.writeUIntLE(distances.length, 4, 3);
  let at = HEAD;
  for (const piece of [...aside.taken, distances, coded]) {
    payload.set(piece, at);
    at += piece.length;
  }
  return payload;
}

const u24 = (bytes: Uint8Array, at: number): number => (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);

/** `prediction` becomes the target, or anything when the payload is damaged. False: the payload cannot be one. */
export function decodePayload(payload: Uint8Array, prediction: Uint8Array, origin: number, pieces: Pieces): boolean {
  const way = payload[0] as number;
  if (payload.length < HEAD || way > LiteralWay.NIBBLES) return false;
  const passed = HEAD + u24(payload, 1);
  const distances = passed + u24(payload, 4);
  if (distances > payload.length) return false;
  const aside = new Aside(payload.subarray(HEAD, passed));
  run(new RangeDecoder(payload.subarray(distances)), new RangeDecoder(payload.subarray(passed, distances)), way, aside, prediction, prediction, origin, pieces);
  return true;
}
