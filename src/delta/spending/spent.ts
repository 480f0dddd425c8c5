import { openedSize } from '../../container/layout.ts';
import { NO_STREAMS, heldBytes } from '../../container/streams.ts';
import { ShoalError } from '../../core/errors.ts';
import { native } from '../../kernel/native.ts';
import { DeltaApplier } from '../apply.ts';
import type { DeltaObjects, ExaminedPart } from '../apply.ts';
import { Ledger } from './ledger.ts';
import type { Spending } from './ledger.ts';
import type { DeltaOutline } from '../manifest.ts';
import { memoryBase } from '../predict.ts';
import type { BaseReader } from '../predict.ts';
import { PieceKind } from '../types.ts';
import type { Pieces } from '../types.ts';
import { regionsOf } from './regions.ts';

/** Of an opened target, which is in memory. */
const MOST_OPENED = 2 ** 31;

/**
 * Where the bytes of a delta go. Holds the whole target in memory, its streams opened.
 *
 * @throws ShoalError `NO_KERNEL` on the portable tier; `ARTIFACT_TOO_LARGE`; `BASE_DRIFTED` when it was made from another base; what
 * `DeltaApplier.segment` throws
 */
export async function spending(outline: DeltaOutline, objects: DeltaObjects, base: BaseReader, onProgress: (done: number, total: number) => void = () => undefined): Promise<Spending> {
  if (native === undefined) throw new ShoalError('NO_KERNEL', 'what a delta is spent on is measured by the native kernel, which is not here');
  const { views } = outline;
  const size = openedSize(views?.target ?? NO_STREAMS, outline.target.size);
  if (size > MOST_OPENED) throw new ShoalError('ARTIFACT_TOO_LARGE', `what a delta is spent on is measured of targets of at most ${String(MOST_OPENED)} bytes; opened, this one has ${String(size)}`);
  const applier = new DeltaApplier(outline, objects, base);
  await applier.proveBase();
  const target = Buffer.alloc(size);
  let done = 0;
  const eachPart = async (visit: (part: ExaminedPart) => Promise<void> | void): Promise<void> => {
    for (const number of applier.segments.keys()) {
      await applier.examine(number, async (part) => {
        await visit(part);
        onProgress(Math.min(2 * size, (done += part.made.length)), 2 * size);
      }, memoryBase(target));
    }
  };
  // First all of it, since an executable says at its end what its sections are.
  let end = 0;
  let twice = 0;
  await eachPart(({ made, opened, unopened }) => {
    if (unopened) return;
    target.set(made, opened);
    twice += Math.max(0, Math.min(end - opened, made.length));
    end = Math.max(end, opened + made.length);
  });
  const ledger = new Ledger(native, regionsOf(target), outline.base.size + heldBytes(views?.base ?? NO_STREAMS));
  let earlier = 0;
  await eachPart((part) => {
    earlier += copied(part.pieces, outline);
    const page = outline.pages[part.page];
    return ledger.enter(part, page === undefined ? 0 : page.size / Math.max(1, page.covers));
  });
  return { ...ledger.end(), twice, earlier };
}

/** Bytes that come from earlier segments. */
function copied(pieces: Pieces, { base, looksBack }: DeltaOutline): number {
  let sum = 0;
  if (looksBack !== true) return sum;
  for (let i = 0; i < pieces.length; i += 4) if (pieces[i + 1] === PieceKind.BASE && (pieces[i + 2] as number) + (pieces[i + 3] as number) * 2 ** 32 >= base.size) sum += pieces[i] as number;
  return sum;
}
