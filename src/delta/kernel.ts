import { ShoalError } from '../core/errors.ts';
import { DELTA_MOVED_MAX_COVERS } from '../core/limits.ts';
import { native } from '../kernel/native.ts';
import type { NativeShifts } from '../kernel/native.ts';
import { ofBase } from './earlier.ts';
import { makeIndexes } from './references/frame-index.ts';
import { decodeMapPage } from './coding/map.ts';
import { moveReferences } from './references/references.ts';
import { decodePayload } from './residual.ts';
import { readRules } from './references/rules.ts';
import { Shifts } from './references/shifts.ts';
import { Codec, PieceKind } from './types.ts';
import type { CodecId, Covers, Pieces } from './types.ts';

/** The decoders on the best tier there is. Both pass the same vectors. */

const OK = 0;
const DAMAGED = 2;
const NO_MEMORY = 3;

function damaged(what: string): ShoalError {
  return new ShoalError('DELTA_DAMAGED', `${what} of the delta cannot be decoded`, { retry: 'elsewhere' });
}

/** @throws ShoalError `DELTA_DAMAGED` when a cover leaves [begin, end) or the base, or overlaps another */
export async function decodePage(page: Uint8Array, begin: number, end: number, baseSize: number, covers: number): Promise<Covers> {
  if (native !== undefined) {
    const found = await native.deltaDecodePage(page, begin, end, baseSize, covers);
    if (typeof found !== 'number') return found;
    if (found === NO_MEMORY) throw new ShoalError('NO_MEMORY', 'no memory to decode a delta', { retry: 'again' });
    throw damaged('a map page');
  }
  const list = decodeMapPage(page, begin, end, baseSize, covers);
  if (list === undefined) throw damaged('a map page');
  const flat = new Float64Array(list.length * 4);
  list.forEach(({ target, length, base, fill }, i) => {
    flat.set([target, length, base, fill], i * 4);
  });
  return flat;
}

/** Where places of a base went: what codec MOVED needs. */
export type PlacesMoved = NativeShifts | Shifts;

/**
 * `pages`: the covers of all pages of a delta, in order. Those that show earlier segments say nothing of the base.
 *
 * @throws ShoalError `DELTA_DAMAGED` when there are too many; `NO_MEMORY`
 */
export async function placesMoved(pages: readonly Covers[], baseSize: number): Promise<PlacesMoved> {
  if (pages.reduce((sum, { length }) => sum + length / 4, 0) > DELTA_MOVED_MAX_COVERS) throw damaged('the map');
  const shown = pages.map((covers) => ofBase(covers, baseSize));
  if (native === undefined) return new Shifts(shown, baseSize);
  const made = await native.deltaShifts(shown, baseSize);
  if (typeof made === 'number') throw new ShoalError('NO_MEMORY', 'no memory to decode a delta', { retry: 'again' });
  return made;
}

/**
 * Turns the prediction in `buffer` into the target. Wrong bytes from a damaged payload are the caller's to find by hash.
 *
 * @param moved what codec MOVED needs
 * @throws ShoalError `DELTA_DAMAGED`
 */
export async function decodeSegment(codec: CodecId, payload: Uint8Array, buffer: Uint8Array, origin: number, pieces: Pieces, moved?: PlacesMoved): Promise<void> {
  if (codec === Codec.COPY) return;
  if (codec === Codec.RAW) {
    buffer.set(payload);
    return;
  }
  if (native !== undefined) {
    const status = await native.deltaDecodeSegment(codec, payload, buffer, origin % 2 ** 32, pieces, moved instanceof Shifts ? undefined : moved);
    if (status === OK) return;
    if (status === NO_MEMORY) throw new ShoalError('NO_MEMORY', 'no memory to decode a delta', { retry: 'again' });
    throw status === DAMAGED ? damaged('a payload') : new ShoalError('DELTA_DAMAGED', `a segment of the delta is refused (${String(status)})`, { retry: 'elsewhere' });
  }
  if (!decodePortably(codec, payload, buffer, origin % 2 ** 32, pieces, moved instanceof Shifts ? moved : undefined)) throw damaged('a payload');
}

/** The portable decoder. False: the payload cannot be one. `origin`: modulo 2^32. */
export function decodePortably(codec: CodecId, payload: Uint8Array, buffer: Uint8Array, origin: number, pieces: Pieces, shifts?: Shifts): boolean {
  if (codec !== Codec.MOVED) return decodePayload(payload, buffer, origin, pieces);
  const head = shifts === undefined ? undefined : readRules(payload, buffer.length, shifts.baseSize);
  if (head === undefined || shifts === undefined || !liesWhole(pieces, shifts.baseSize)) return false;
  moveReferences(head.rules, shifts, buffer, origin, pieces);
  if (!decodePayload(payload.subarray(head.used), buffer, origin, pieces)) return false;
  makeIndexes(head.rules, buffer);
  return true;
}

/** Whether base bytes of each piece lie all in the base, or all behind its end. */
function liesWhole(pieces: Pieces, baseSize: number): boolean {
  for (let i = 0; i < pieces.length; i += 4) {
    const from = (pieces[i + 2] as number) + (pieces[i + 3] as number) * 2 ** 32;
    if (pieces[i + 1] === PieceKind.BASE && from < baseSize && from + (pieces[i] as number) > baseSize) return false;
  }
  return true;
}
