import type { Streams } from '../container/streams.ts';
import { DELTA_MANIFEST_MAX_BYTES } from '../core/limits.ts';
import { costOf } from '../delta/spending/ledger.ts';
import type { Spending, Spent } from '../delta/spending/ledger.ts';
import type { DeltaOutline } from '../delta/manifest.ts';
import { formatBytes, progress } from './output.ts';

/** What `shoal inspect` says of deltas. */

export interface Finding {
  readonly kind: string;
  readonly lines: readonly string[];
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Regions that are shown; all are in the JSON. */
const MOST_REGIONS = 24;
/** Below this share of a delta a region is not worth a line. */
const LEAST_SHARE = 0.001;

/** A delta in one file; with `base`, the file it was made from, where its bytes go. */
export async function delta(path: string, base: string | undefined): Promise<Finding> {
  const { deltaSpending, describeDelta } = await import('../roles/delta-files.ts');
  const { outline, bytes, outlineBytes, streamBytes, mapBytes, covers, codecs } = await describeDelta(path);
  const lines = [
    `${path}: delta of ${formatBytes(bytes)}, ${((100 * bytes) / Math.max(1, outline.target.size)).toFixed(2)} % of what it makes`,
    `  from ${formatBytes(outline.base.size)} to ${formatBytes(outline.target.size)}`,
    `  outline ${formatBytes(outlineBytes)}${streamBytes === 0 ? '' : `, of these ${formatBytes(streamBytes)} list of streams`}; map ${formatBytes(mapBytes)} (${String(covers)} covers in ${String(outline.pages.length)} pages)`,
    ...streamLines(outline),
    ...(outline.looksBack === true ? ['  segments copy from earlier ones'] : []),
    ...Object.entries(codecs).filter(([, { segments }]) => segments > 0).map(([codec, { segments, target, payload }]) => `  ${codec.padEnd(5)} ${String(segments)} segments: ${formatBytes(target)} from ${formatBytes(payload)}`),
  ];
  let spent: Spending | undefined;
  if (base === undefined) {
    lines.push('  --base FILE, with the file it was made from, shows where these bytes go.');
  } else {
    const bar = progress('measuring');
    try {
      spent = await deltaSpending(path, base, bar.update);
    } finally {
      bar.stop();
    }
    lines.push(...spentLines(spent, bytes, outlineBytes));
  }
  const segments = outline.segments.map(({ length, codec, payload }) => ({ length, codec, payload: payload?.size ?? 0 }));
  return { kind: 'delta', lines, facts: { base: outline.base, target: outline.target, bytes, outlineBytes, streamBytes, mapBytes, covers, pages: outline.pages.length, streams: streamFacts(outline), looksBack: outline.looksBack === true, codecs, segments, ...(spent === undefined ? {} : { spent }) } };
}

const KINDS: readonly { readonly kind: Spent['kind']; readonly name: string }[] = [
  { kind: 'executable', name: 'programs and libraries' },
  { kind: 'object', name: 'objects (kernel modules)' },
  { kind: 'rest', name: 'all else' },
];

/** Tables: what kinds of files and regions cost, and what moving references saves. */
function spentLines({ earlier, regions, predictors, rules, twice }: Spending, bytes: number, outlineBytes: number): readonly string[] {
  const share = (part: number): string => `${((100 * part) / Math.max(1, bytes)).toFixed(1)} %`;
  const row = (name: string, columns: readonly (number | string)[]): string => `  ${name.padEnd(28)}${columns.map((each) => (typeof each === 'number' ? each.toFixed(0) : each).padStart(12)).join('')}`;
  const regionRow = (name: string, all: readonly Spent[]): string => {
    const total = (of: (spent: Spent) => number): number => all.reduce((sum, spent) => sum + of(spent), 0);
    const cost = total(costOf);
    return row(name, [total((spent) => spent.bytes), cost, share(cost), total(({ literals }) => literals), total(({ corrections }) => corrections), total(({ runs }) => runs), total(({ tables }) => tables), total(({ map }) => map), total(({ saved }) => saved)]);
  };
  const heads = ['makes', 'takes', 'of all', 'unpredicted', 'corrections', 'runs', 'tables', 'map', 'saved'];
  const shown = regions.filter((spent, n) => n < MOST_REGIONS && costOf(spent) >= LEAST_SHARE * bytes);
  const left = regions.filter((spent) => !shown.includes(spent));
  const measured = regions.reduce((sum, spent) => sum + costOf(spent), 0);
  const elsewhere = Math.max(0, bytes - measured - rules - outlineBytes);
  return [
    '',
    row('where it goes, bytes', heads),
    ...KINDS.filter(({ kind }) => regions.some((spent) => spent.kind === kind)).map(({ kind, name }) => regionRow(name, regions.filter((spent) => spent.kind === kind))),
    row('rules that move references', ['', rules, share(rules)]),
    row('outline, ends of coders', ['', outlineBytes + elsewhere, share(outlineBytes + elsewhere)]),
    ...(twice === 0 ? [] : [`  Streams that cross ends of segments are in two: ${formatBytes(twice)} of what they hold.`]),
    ...(earlier === 0 ? [] : [`  Copied from earlier segments, where it is new to the base: ${formatBytes(earlier)}.`]),
    '',
    row('by region', heads),
    ...shown.map((spent) => regionRow(spent.kind === 'object' ? `${spent.region} of objects` : spent.region, [spent])),
    ...(left.length === 0 ? [] : [regionRow(`${String(left.length)} others`, left)]),
    ...(predictors.length === 0 ? [] : ['', row('references moved in', ['stretches', 'bytes', 'takes', 'saved'])]),
    ...predictors.map(({ predictor, stretches, bytes: length, spent, saved }) => row(predictor, [stretches, length, spent, saved])),
  ];
}

/** Compressed streams that a delta looks into, and what they hold; zeros without containers. */
function streamFacts({ views }: DeltaOutline): { readonly base: StreamFacts; readonly target: StreamFacts } {
  const facts = (streams: Streams | undefined): StreamFacts => ({ streams: streams?.at.length ?? 0, bytes: sum(streams?.size ?? []), held: sum(streams?.held ?? []) });
  return { base: facts(views?.base), target: facts(views?.target) };
}

interface StreamFacts {
  readonly streams: number;
  readonly bytes: number;
  readonly held: number;
}

function sum(numbers: Iterable<number>): number {
  let all = 0;
  for (const each of numbers) all += each;
  return all;
}

function streamLines(manifest: DeltaOutline): readonly string[] {
  if (manifest.views === undefined) return [];
  const { base, target } = streamFacts(manifest);
  const line = (what: string, { streams, bytes, held }: StreamFacts): string => `  ${what} ${String(streams)} compressed streams: ${formatBytes(bytes)} that hold ${formatBytes(held)}`;
  return [line('looks into', base), line('makes', target)];
}

/** The manifest of a published delta, as it lies below targets/deltas of a home. */
export async function deltaManifest(path: string): Promise<Finding> {
  const { nodeFiles } = await import('../store/files.ts');
  const { readWhole } = await import('../store/durable.ts');
  const { decodeDeltaManifest, deltaBytes } = await import('../delta/manifest.ts');
  const encoded = (await readWhole(nodeFiles, path, DELTA_MANIFEST_MAX_BYTES)) ?? new Uint8Array();
  const manifest = decodeDeltaManifest(encoded);
  const { base, target, pages, segments } = manifest;
  const bytes = deltaBytes(manifest, encoded.byteLength);
  const needing = segments.filter(({ prerequisites }) => prerequisites.length > 0).length;
  const lines = [
    `${path}: manifest of a delta of ${formatBytes(bytes)}, ${((100 * bytes) / Math.max(1, target.size)).toFixed(2)} % of what it makes`,
    `  from ${base.root}, ${formatBytes(base.size)}`,
    `  to   ${target.root}, ${formatBytes(target.size)}`,
    `  ${String(segments.length)} segments, ${String(pages.length)} map pages, manifest ${formatBytes(encoded.byteLength)}`,
    ...streamLines(manifest),
    ...(needing === 0 ? [] : [`  ${String(needing)} segments copy from earlier ones`]),
  ];
  return { kind: 'delta-manifest', lines, facts: { base, target, bytes, manifestBytes: encoded.byteLength, pages: pages.length, streams: streamFacts(manifest), segments: segments.length, needing } };
}

