import { expandedBytes } from '../container/layout.ts';
import { opener } from '../container/opened.ts';
import { NO_STREAMS } from '../container/streams.ts';
import type { Views } from '../container/views.ts';
import { ShoalError } from '../core/errors.ts';
import { CONTAINER_UNIT_MAX_BYTES } from '../core/limits.ts';
import type { DeltaOutline, DeltaPage, OutlinedSegment } from './manifest.ts';

/** Where a segment lies and what it needs. */
export interface PlacedSegment extends OutlinedSegment {
  readonly begin: number;
  readonly page: number;
  /** Where it begins in what pages and models see: the expanded target where there are containers. */
  readonly expanded: number;
  /** Where what it begins with lies in the opened target. */
  readonly opened: number;
}

export interface PlacedPage extends DeltaPage {
  readonly begin: number;
  readonly end: number;
  readonly firstSegment: number;
}

/** @throws ShoalError `BAD_DELTA` when a segment is longer than a device has memory for */
function expandedLength({ target }: Views, { length }: OutlinedSegment, begin: number): number {
  const expanded = expandedBytes(target, begin, begin + length);
  if (expanded > CONTAINER_UNIT_MAX_BYTES) throw new ShoalError('BAD_DELTA', `a segment of this delta has ${String(expanded)} bytes when it is expanded`, { retry: 'elsewhere' });
  return expanded;
}

/**
 * Where all segments and pages of a delta lie.
 *
 * @throws ShoalError `BAD_DELTA` when a segment is longer than a device has memory for
 */
export function placesOf(outline: DeltaOutline): { readonly segments: readonly PlacedSegment[]; readonly pages: readonly PlacedPage[] } {
  const { views } = outline;
  const segments: PlacedSegment[] = [];
  const pages: PlacedPage[] = [];
  let at = 0;
  let expanded = 0;
  const openedAt = opener(views?.target ?? NO_STREAMS);
  outline.pages.forEach((page, number) => {
    const begin = expanded;
    const firstSegment = segments.length;
    for (const segment of outline.segments.slice(segments.length, segments.length + page.segments)) {
      segments.push({ ...segment, begin: at, page: number, expanded, opened: openedAt(at) });
      expanded += views === undefined ? segment.length : expandedLength(views, segment, at);
      at += segment.length;
    }
    pages.push({ ...page, begin, end: expanded, firstSegment });
  });
  return { segments, pages };
}
