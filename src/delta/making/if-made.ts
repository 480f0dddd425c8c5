import { expandBase } from '../../container/expand.ts';
import { findStreams } from '../../container/find.ts';
import { openedSize } from '../../container/layout.ts';
import { OpenedTarget } from '../../container/open-target.ts';
import { heldBytes } from '../../container/streams.ts';
import { DELTA_SEGMENT_MAX_BYTES } from '../../core/limits.ts';
import { encodeDelta } from './encode.ts';
import type { EncodeOptions } from './encode.ts';
import { EXPANDED_SHARE } from './make.ts';
import type { DeltaInput } from './made.ts';

/**
 * What a delta would take if every stream that can be read could be made as well: what a publisher gains who compresses otherwise. Map and payloads, of
 * what all streams hold; undefined where there is no memory to say so. Takes as long as making the delta.
 */
export async function bytesIfMade(base: DeltaInput, target: DeltaInput, options: Pick<EncodeOptions, 'indexBytes' | 'threads' | 'signal'> = {}): Promise<number | undefined> {
  const { indexBytes = Infinity, threads, signal } = options;
  const look = signal === undefined ? {} : { signal };
  const [before, after] = [await findStreams(base.bytes, look), await findStreams(target.bytes, look)];
  const sizes = [base.bytes.length + heldBytes(before), openedSize(after, target.bytes.length)] as const;
  if (sizes[0] + sizes[1] > indexBytes * EXPANDED_SHARE) return undefined;
  const opened = await new OpenedTarget(target.bytes, after, () => false, 0).with(after);
  const whole = await expandBase(base.bytes, before, sizes[0], base.roomBehind ?? 0);
  const ends = Array.from({ length: Math.ceil(opened.length / DELTA_SEGMENT_MAX_BYTES) }, (_, n) => Math.min(opened.length, (n + 1) * DELTA_SEGMENT_MAX_BYTES));
  const { segments, pages } = await encodeDelta(whole, opened, ends, { ...look, ...(threads === undefined ? {} : { threads }), ...(indexBytes === Infinity ? {} : { indexBytes: indexBytes - sizes[0] - sizes[1] }) });
  return segments.reduce((sum, { payload }) => sum + payload.length, 0) + pages.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
