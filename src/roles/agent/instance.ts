import { createHash, randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';

/** A name is used so long, restarts included, and then never again. */
const KEPT_MS = 86_400_000;
const MAX_BYTES = 256;

/**
 * The name under which a device announces itself: random, the same for a day even when it restarts, so that its neighbours
 * leave to it what it had begun. Copies of one installation do not share it: addresses go into it. Nothing of them can be read from it.
 */
export async function instanceName(files: Files, directory: string, place: string, today: number): Promise<string> {
  const path = join(directory, 'instance.json');
  const kept = parse(await readWhole(files, path, MAX_BYTES).catch(() => undefined));
  let secret = kept !== undefined && today >= kept.at && today - kept.at < KEPT_MS ? kept.secret : undefined;
  if (secret === undefined) {
    secret = randomBytes(16).toString('hex');
    // Where it cannot be kept, the name is a new one every time.
    await writeDurably(files, path, Buffer.from(JSON.stringify({ secret, at: today }))).catch(() => undefined);
  }
  const here = Object.values(networkInterfaces()).flatMap((each) => each ?? []).map(({ address, mac }) => `${mac} ${address}`).sort();
  return createHash('sha256').update(JSON.stringify([secret, place, here])).digest('hex').slice(0, 32);
}

function parse(bytes: Uint8Array | undefined): { readonly secret: string; readonly at: number } | undefined {
  try {
    const { secret, at } = JSON.parse(Buffer.from(bytes ?? []).toString('utf8')) as { readonly secret?: unknown; readonly at?: unknown };
    return typeof secret === 'string' && typeof at === 'number' ? { secret, at } : undefined;
  } catch {
    return undefined;
  }
}
