import { ShoalError } from '../../core/errors.ts';
import { idFromBytes, isObjectId } from '../../core/ids.ts';
import { blake3 } from '../../kernel/hash.ts';
import { readWhole, writeDurably } from '../durable.ts';
import type { Files } from '../files.ts';
import type { StoredArtifact } from '../types.ts';

/** Some 200 bytes an artifact: room for a million. */
const CATALOG_MAX_BYTES = 256 * 1024 * 1024;

/**
 * The list of artifacts: what makes an artifact be there. One small file, replaced whole, so that several artifacts
 * appear together or not at all. First line: BLAKE3 of the rest, which is JSON.
 */
export async function readCatalog(files: Files, path: string): Promise<readonly StoredArtifact[]> {
  const bytes = await readWhole(files, path, CATALOG_MAX_BYTES);
  if (bytes === undefined) return [];
  const text = new TextDecoder().decode(bytes);
  const end = text.indexOf('\n');
  const body = text.slice(end + 1);
  if (end < 0 || idFromBytes(blake3(new TextEncoder().encode(body))) !== text.slice(0, end)) {
    throw new ShoalError('STORE_DAMAGED', `${path}, the list of artifacts, is damaged on the medium`, {
      ids: { path }, hint: 'Restore the file from a backup, or remove it and publish again: what is stored is not stored twice.',
    });
  }
  return (JSON.parse(body) as { readonly artifacts: readonly StoredArtifact[] }).artifacts.filter(({ root }) => isObjectId(root));
}

export async function writeCatalog(files: Files, path: string, artifacts: readonly StoredArtifact[]): Promise<void> {
  const plain = artifacts.map(({ namespace, root, size, spans }) => ({ namespace, root, size, spans }));
  const body = `${JSON.stringify({ format: 1, artifacts: plain }, null, 1)}\n`;
  const digest = idFromBytes(blake3(new TextEncoder().encode(body)));
  await writeDurably(files, path, new TextEncoder().encode(`${digest}\n${body}`));
}
