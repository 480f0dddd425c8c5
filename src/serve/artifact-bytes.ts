import { ShoalError } from '../core/errors.ts';
import { formatChunkSet } from '../core/chunkset.ts';
import type { ContentKey } from '../core/wire.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import { ArtifactIndexes } from './artifacts.ts';
import type { ContentProvider } from './content.ts';

/** An artifact as one sequence of bytes, over a provider of spans: only the chunks of the range are read, all of them verified. */
export class ArtifactBytes {
  readonly #content: ContentProvider;
  readonly #indexes: ArtifactIndexes;

  constructor(content: ContentProvider) {
    this.#content = content;
    this.#indexes = new ArtifactIndexes((key, id) => content.page(key, id));
  }

  /** Bytes of the artifact, or undefined when it is not here. */
  async size(key: ContentKey): Promise<number | undefined> {
    return (await this.#content.holding(key))?.size;
  }

  /** Says whether every span of the range is held. */
  async has(key: ContentKey, from: number, to: number): Promise<boolean> {
    const holding = await this.#content.holding(key);
    if (holding === undefined) return false;
    if (holding.spans.complete || from === to) return true;
    const index = await this.#indexes.reader(key);
    if (index === undefined) return false;
    const last = (await index.spanAt(to - 1)).index;
    for (let span = (await index.spanAt(from)).index; span <= last; span++) if (!holding.spans.has(span)) return false;
    return true;
  }

  /** Bytes `from` to `to`, exclusive. Throws `NOT_FOUND` when a part turns out not to be here. */
  async *read(key: ContentKey, from: number, to: number): AsyncGenerator<Uint8Array> {
    const index = await this.#indexes.reader(key);
    if (index === undefined) throw gone(key);
    for (let at = from; at < to; ) {
      const number = (await index.spanAt(at)).index;
      const found = await this.#indexes.span(key, number);
      if (found === undefined) throw gone(key);
      const { span, chunks } = found;
      const end = Math.min(to, span.offset + span.bytes);
      const offsets = chunkOffsets(chunks);
      const wanted = chunks.flatMap(({ length }, position) => {
        const start = span.offset + (offsets[position] ?? 0);
        return start < end && start + length > at ? [position] : [];
      });
      const set = wanted.length === chunks.length ? undefined : formatChunkSet(wanted);
      const runs = await this.#content.span(key, number, set, ['identity']);
      if (runs === undefined) throw gone(key);
      let position = span.offset + (offsets[wanted[0] ?? 0] ?? 0);
      for (const run of runs) {
        for await (const piece of run.open()) {
          const cut = piece.subarray(Math.max(0, at - position), Math.max(0, end - position));
          position += piece.byteLength;
          if (cut.byteLength > 0) yield cut;
        }
      }
      at = end;
    }
  }
}

function gone({ root }: ContentKey): ShoalError {
  return new ShoalError('NOT_FOUND', 'a part of the artifact is no longer here', { ids: { root }, retry: 'elsewhere' });
}
