import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../../src/chunk/params.ts';
import { ShoalError } from '../../../src/core/errors.ts';
import type { ReleaseManifest } from '../../../src/core/manifest.ts';
import type { Source } from '../../../src/exchange/source.ts';
import { sampleArtifact } from '../../support/artifacts.ts';
import type { SampleArtifact } from '../../support/artifacts.ts';
import { cutEverywhere } from '../../support/cut-installation.ts';

/** Draws for each point and mode: with some forty operations of an installation, over a thousand crashes. */
const SEEDS = Number(process.env["SHOAL_ROUNDS"] ?? 12);

function manifestOf(artifact: SampleArtifact): ReleaseManifest {
  const sha256 = createHash('sha256').update(artifact.bytes).digest('hex');
  const record = { name: 'image', role: 'image', root: artifact.root, size: artifact.size, sha256, chunking: DEFAULT_CHUNKING };
  return { format: 1, namespace: artifact.namespace, product: 'os', version: '2', sequence: 2, minimumSource: 0, artifacts: [record], hardware: [], requiredFeatures: [] };
}

/** An honest host that needs no time. */
function sourceOf(artifact: SampleArtifact): Source {
  const pages = new Map(artifact.pages.map((page) => [page.id, page.encoded]));
  const chunks = new Map(artifact.spansOfChunks.flat().map((chunk) => [chunk.id, chunk]));
  return {
    name: 'honest', kind: 'origin',
    page: async (_key, id) => Promise.resolve(pages.get(id) ?? Promise.reject(new ShoalError('NOT_HELD', 'no such page'))),
    holding: () => Promise.resolve(undefined),
    span: (_key, request, sink) => sink.take(request.chunks.flatMap(({ id }) => chunks.get(id) ?? []), 0),
    totals: () => ({ content: 0, control: 0 }),
    close: () => Promise.resolve(),
  };
}

// A kill leaves the page cache (test/fault/fetch-kill.test.ts): here the power fails, and nothing unsynced is promised.
it('an installation cut by a power failure leaves the old file or the new one, whole, and goes on by itself', async () => {
  const [before, after] = [await sampleArtifact([[1, 2, 3], [5, 7]]), await sampleArtifact([[1, 2, 3], [11, 12], [13, 14, 15], [5, 7], [16, 17]])];
  expect(await cutEverywhere({ before: before.bytes, after: after.bytes, manifest: manifestOf(after), source: sourceOf(after) }, SEEDS)).toBeGreaterThan(1000);
}, 900_000);
