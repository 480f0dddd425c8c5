import { Bitmap } from '../core/bitmap.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_CACHE_BYTES, DELTA_CACHE_MANIFESTS } from '../core/limits.ts';
import type { ContentKey } from '../core/wire.ts';
import type { DeltaManifest } from '../delta/manifest.ts';

/**
 * The map pages and payloads that this device fetched last, for its neighbours, by the artifact they make: knowing an id
 * opens nothing under another root. In memory, `DELTA_CACHE_BYTES` of it: flash is not written for neighbours, and what
 * has gone they get as content.
 */
export class DeltaCache {
  readonly #most: number;
  /** Oldest first. */
  readonly #objects = new Map<string, Uint8Array>();
  readonly #manifests = new Map<string, DeltaManifest>();
  #bytes = 0;

  constructor(most = DELTA_CACHE_BYTES) {
    this.#most = most;
  }

  get(key: ContentKey, id: ObjectId): Uint8Array | undefined {
    return this.#objects.get(nameOf(key, id));
  }

  /** Keeps verified bytes. */
  put(key: ContentKey, id: ObjectId, bytes: Uint8Array): void {
    const name = nameOf(key, id);
    if (bytes.byteLength > this.#most || this.#objects.has(name)) return;
    this.#objects.set(name, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#objects) {
      if (this.#bytes <= this.#most) break;
      this.#objects.delete(oldest);
      this.#bytes -= byteLength;
    }
  }

  /** Says what segments a delta has, so that neighbours can be told which of them are here. */
  note(key: ContentKey, manifest: DeltaManifest): void {
    this.#manifests.set(nameOf(key, manifest.base.root), manifest);
    for (const oldest of this.#manifests.keys()) {
      if (this.#manifests.size <= DELTA_CACHE_MANIFESTS) break;
      this.#manifests.delete(oldest);
    }
  }

  /** The segments whose map page and payload are here. A segment without a payload comes with its page. */
  holding(key: ContentKey, base: ObjectId): Bitmap | undefined {
    const manifest = this.#manifests.get(nameOf(key, base));
    if (manifest === undefined) return undefined;
    const held = new Bitmap(manifest.segments.length);
    let at = 0;
    for (const page of manifest.pages) {
      const here = this.get(key, page.id) !== undefined;
      for (let end = at + page.segments; at < end; at++) {
        const payload = manifest.segments[at]?.payload;
        if (here && (payload === undefined || this.get(key, payload.id) !== undefined)) held.add(at);
      }
    }
    return held;
  }
}

function nameOf({ namespace, root }: ContentKey, id: ObjectId): string {
  return `${namespace}/${root}/${id}`;
}
