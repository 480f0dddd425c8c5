import { systemClock } from '../../core/clock.ts';
import { StoreContent } from '../../serve/store-content.ts';
import { openTo } from '../../serve/open-products.ts';
import type { OpenProducts } from '../../serve/open-products.ts';
import { createSurface } from '../../serve/surface.ts';
import { Swarms } from '../../serve/swarms.ts';
import { torrentRoutes } from '../../serve/torrent-routes.ts';
import type { PrunableStore } from '../../store/types.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import { HomeTorrents } from './torrents.ts';
import { HomeUses } from './uses.ts';

/** What an operator opens to stock clients, which have no certificates. */
export interface OpenListenerOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly products: OpenProducts;
  /** Where clients reach it from outside, when that is not the host they ask for. */
  readonly url?: string;
}

export interface OpenListener {
  readonly url: string;
  readonly served: { readonly content: number; readonly control: number; readonly requests: number };
  close(): Promise<void>;
}

/**
 * A listener of its own for stock clients: plain HTTP, torrents of some products, their web seed and a tracker, under the
 * bounds of every surface. It has no metadata, sites, metrics or other products, and the listener of the fleet has none of it.
 */
export async function startOpenListener(home: TrustHome, store: PrunableStore, version: string, { listen, products, url }: OpenListenerOptions, onError?: (error: unknown, where: string) => void): Promise<OpenListener> {
  const clock = systemClock;
  const uses = new HomeUses(home, clock);
  const torrents = new HomeTorrents(home, store, products, clock);
  const surface = await createSurface({
    role: 'origin',
    version,
    content: new StoreContent(store, () => clock.now()),
    permissions: openTo(products, (root) => uses.of(root)),
    clock,
    control: (app) => { torrentRoutes(app, { torrents, swarms: new Swarms(() => clock.now()), clock, ...(url === undefined ? {} : { url: url.replace(/\/$/, '') }) }); },
    ...(onError === undefined ? {} : { onError }),
  });
  const at = await surface.listen(listen.host, listen.port);
  return { url: at, served: surface.metrics.totals, close: () => surface.close() };
}
