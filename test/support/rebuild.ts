import { DeltaApplier } from '../../src/delta/apply.ts';
import { openDeltaFile } from '../../src/delta/file.ts';
import { memoryBase } from '../../src/delta/predict.ts';

/** What the delta file `bytes` makes of `base`. */
export async function rebuild(bytes: Uint8Array, base: Uint8Array): Promise<Buffer> {
  const delta = await openDeltaFile(memoryBase(bytes), bytes.length);
  const applier = new DeltaApplier(delta.outline, delta, memoryBase(base));
  const made = Buffer.alloc(delta.outline.target.size);
  for (const [number, { begin }] of applier.segments.entries()) made.set(await applier.segment(number, undefined, memoryBase(made)), begin);
  await applier.settle();
  return made;
}
