import { INDEX_HEAD_BYTES, RuleKind } from './rules.ts';
import type { Rule } from './rules.ts';

/** The index of unwinding records, which is left out and made again: the twin of native/delta/references/frame_index.cc (docs/delta.md, "References"). */

/** Bytes of a row; of a record up to behind where its code begins. */
const ROW_BYTES = 8;
const RECORD_BYTES = 12;

/** Zeros where the rules say that an index lies. */
export function clearIndexes(rules: readonly Rule[], bytes: Uint8Array): void {
  for (const { kind, begin, size } of rules) if (kind === RuleKind.FRAME_INDEX) bytes.fill(0, begin, begin + size);
}

/** Makes the indexes of a segment that is right but for these. */
export function makeIndexes(rules: readonly Rule[], bytes: Uint8Array): void {
  for (const rule of rules) if (rule.kind === RuleKind.FRAME_INDEX) makeIndex(rule, bytes);
}

function makeIndex({ begin, size, records, recordsSize }: Rule, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const most = Math.floor(size / ROW_BYTES);
  const head = begin - INDEX_HEAD_BYTES;
  const end = records + recordsSize;
  const rows: { readonly place: number; readonly record: number }[] = [];
  for (let at = records; end - at >= RECORD_BYTES && rows.length < most; ) {
    const length = view.getUint32(at, true);
    if (length < 4 || length > end - at - 4) break;
    // What has no distance back to another is none of code.
    if (view.getUint32(at + 4, true) !== 0 && length >= 8) rows.push({ place: (at + 8 + view.getInt32(at + 8, true) - head) | 0, record: at - head });
    at += 4 + length;
  }
  // Those of one place stay in their order.
  rows.sort((a, b) => a.place - b.place);
  bytes.fill(0, begin, begin + size);
  for (const [i, { place, record }] of rows.entries()) {
    view.setInt32(begin + i * ROW_BYTES, place, true);
    view.setInt32(begin + i * ROW_BYTES + 4, record, true);
  }
}
