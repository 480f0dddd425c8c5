import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { CHUNK_MAX_BYTES, SPAN_MAX_BYTES, SPAN_MIN_BYTES } from '../core/limits.ts';

/** What grouping looks at. */
export interface SpanMember {
  readonly id: ObjectId;
  readonly length: number;
}

/** Says whether a span that is long enough ends after a chunk of this id: one in sixteen (docs/format.md, "Spans"). */
function endsSpan(id: ObjectId): boolean {
  return id[1] === '0';
}

/**
 * Groups chunks, in order, into spans whose ends depend on content alone. Every span has `SPAN_MIN_BYTES` to
 * `SPAN_MAX_BYTES`, but the last may be shorter. Keeps the members of one span at a time.
 */
export class SpanGrouper<Member extends SpanMember> {
  #open: Member[] = [];
  #bytes = 0;

  /** Whether the next chunk, of `length` bytes, will be the first of its span. */
  begins(length: number): boolean {
    return this.#open.length === 0 || this.#bytes + length > SPAN_MAX_BYTES;
  }

  /**
   * Adds the next chunk and returns the spans that it closes, in order: none, one, or two when there is no room for a
   * chunk that is long enough to be a span by itself.
   *
   * @throws ShoalError `CHUNK_SIZE` for a chunk that is empty or longer than `CHUNK_MAX_BYTES`
   */
  add(chunk: Member): Member[][] {
    if (!Number.isSafeInteger(chunk.length) || chunk.length < 1 || chunk.length > CHUNK_MAX_BYTES) {
      throw new ShoalError('CHUNK_SIZE', `a chunk of ${String(chunk.length)} bytes fits no span`, { ids: { chunk: chunk.id } });
    }
    const closed: Member[][] = [];
    if (this.#bytes + chunk.length > SPAN_MAX_BYTES) closed.push(this.#close());
    this.#open.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes >= SPAN_MIN_BYTES && endsSpan(chunk.id)) closed.push(this.#close());
    return closed;
  }

  /** Ends the artifact: the last span, of any size, or undefined when nothing is left. */
  end(): Member[] | undefined {
    return this.#open.length === 0 ? undefined : this.#close();
  }

  #close(): Member[] {
    const span = this.#open;
    this.#open = [];
    this.#bytes = 0;
    return span;
  }
}

/** All spans of `chunks`. */
export function groupSpans<Member extends SpanMember>(chunks: Iterable<Member>): Member[][] {
  const grouper = new SpanGrouper<Member>();
  const spans: Member[][] = [];
  for (const chunk of chunks) spans.push(...grouper.add(chunk));
  const last = grouper.end();
  if (last !== undefined) spans.push(last);
  return spans;
}
