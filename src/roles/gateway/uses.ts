import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import { isObjectId } from '../../core/ids.ts';
import { GATEWAY_ABSENT_MS, GATEWAY_MAX_ABSENT, GATEWAY_RECHECK_MS, USES_MAX_BYTES } from '../../core/limits.ts';
import { isName } from '../../core/names.ts';
import { wire } from '../../core/wire.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import type { Use } from '../../serve/access.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import { InFlight } from './absent.ts';

interface Known {
  readonly uses: readonly Use[];
  readonly asked: number;
}

/**
 * What artifacts are used for, as the origin said: a gateway reads no releases. Kept on the medium, so that a site goes on
 * while its backhaul is down; asked for again once a day, and after a minute where there was no use.
 */
export class GatewayUses {
  readonly #files: Files;
  readonly #directory: string;
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #known = new Map<ObjectId, Known>();
  readonly #asking = new InFlight<readonly Use[]>();

  static async open(files: Files, directory: string, upstream: Upstream, clock: Clock): Promise<GatewayUses> {
    await makeDirectories(files, directory);
    return new GatewayUses(files, directory, upstream, clock);
  }

  private constructor(files: Files, directory: string, upstream: Upstream, clock: Clock) {
    this.#files = files;
    this.#directory = directory;
    this.#upstream = upstream;
    this.#clock = clock;
  }

  async of(root: ObjectId): Promise<readonly Use[]> {
    if (!isObjectId(root)) return [];
    const known = this.#known.get(root);
    const lasts = known === undefined || known.uses.length === 0 ? GATEWAY_ABSENT_MS : GATEWAY_RECHECK_MS;
    if (known !== undefined && this.#clock.now() - known.asked < lasts) return known.uses;
    return this.#asking.run(root, () => this.#ask(root, known?.uses));
  }

  async #ask(root: ObjectId, before: readonly Use[] | undefined): Promise<readonly Use[]> {
    const path = join(this.#directory, root);
    let uses: readonly Use[];
    try {
      const { status, body } = await this.#upstream.get('control', wire.uses(root), USES_MAX_BYTES);
      uses = status === 200 ? parse(body) : [];
      if (uses.length > 0) await writeDurably(this.#files, path, Buffer.from(JSON.stringify({ uses })));
    } catch (error) {
      // Without the origin what it said last stands.
      const kept = before ?? (await readWhole(this.#files, path, USES_MAX_BYTES).then((bytes) => (bytes === undefined ? undefined : parse(bytes)), () => undefined));
      if (kept === undefined) throw error;
      return kept;
    }
    this.#known.delete(root);
    this.#known.set(root, { uses, asked: this.#clock.now() });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= GATEWAY_MAX_ABSENT) break;
      this.#known.delete(oldest);
    }
    return uses;
  }
}

/** What can be read of an answer; nothing of one that is damaged. */
function parse(bytes: Uint8Array): readonly Use[] {
  try {
    const { uses } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { readonly uses?: unknown };
    return Array.isArray(uses) ? uses.filter(isUse).map(({ namespace, product }) => ({ namespace, product })) : [];
  } catch {
    return [];
  }
}

function isUse(value: unknown): value is Use {
  const { namespace, product } = (value ?? {}) as Partial<Use>;
  return typeof namespace === 'string' && isName(namespace) && typeof product === 'string' && isName(product);
}
