import { RangeDecoder, RangeEncoder } from './coder.ts';
import { Aside, Literals } from './literals.ts';
import type { BitCoder } from './model.ts';
import { newSiteState } from './site-state.ts';
import { Sites } from './sites.ts';
import { PieceKind } from './types.ts';
import type { Piece } from './types.ts';

/** A segment's payload: the twin of native/delta/residual.cc (docs/delta.md, "Payloads"). */

const HEAD = 3;

function run(coder: BitCoder, aside: Aside, bytes: Uint8Array, target: Uint8Array, origin: number, pieces: readonly Piece[]): void {
  const sites = new Sites(coder, newSiteState(), bytes, target);
  const literals = new Literals(coder, bytes, target, aside);
  let at = 0;
  for (const { length, kind, base } of pieces) {
    const end = at + length;
    if (kind === PieceKind.LITERAL) literals.run(at, end);
    else if (kind === PieceKind.BASE) sites.run(at, end, (base - at) | 0, (origin + at - base) | 0);
    else sites.run(at, end, 0, 0);
    at = end;
  }
}

/** `prediction` becomes the target. */
export function encodePayload(prediction: Uint8Array, target: Uint8Array, origin: number, pieces: readonly Piece[]): Uint8Array {
  const coder = new RangeEncoder();
  const aside = new Aside();
  run(coder, aside, prediction, target, origin, pieces);
  const coded = coder.finish();
  const passed = aside.taken.reduce((sum, piece) => sum + piece.length, 0);
  const payload = Buffer.alloc(HEAD + passed + coded.length);
  payload.writeUIntLE(passed, 0, HEAD);
  let at = HEAD;
  for (const piece of aside.taken) {
    payload.set(piece, at);
    at += piece.length;
  }
  payload.set(coded, at);
  return payload;
}

/** `prediction` becomes the target, or anything when the payload is damaged. False: the payload cannot be one. */
export function decodePayload(payload: Uint8Array, prediction: Uint8Array, origin: number, pieces: readonly Piece[]): boolean {
  if (payload.length < HEAD) return false;
  const passed = (payload[0] as number) | ((payload[1] as number) << 8) | ((payload[2] as number) << 16);
  if (passed > payload.length - HEAD) return false;
  const aside = new Aside(payload.subarray(HEAD, HEAD + passed));
  run(new RangeDecoder(payload.subarray(HEAD + passed)), aside, prediction, prediction, origin, pieces);
  return true;
}
