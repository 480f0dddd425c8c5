import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import type { EnrolmentDesk } from '../identity/desk.ts';
import type { Access } from '../serve/access.ts';
import type { MetadataProvider } from '../serve/content.ts';
import { enrolRoutes } from '../serve/enroll-routes.ts';
import { PeerRegistry } from '../serve/peers.ts';
import { StoreContent } from '../serve/store-content.ts';
import { createSurface } from '../serve/surface.ts';
import type { SurfaceOptions } from '../serve/surface.ts';
import type { RunsDesk } from '../serve/runs.ts';
import { uploadRoutes } from '../serve/upload-routes.ts';
import type { UploadDesk } from '../serve/upload-routes.ts';
import type { GcReport, PrunableStore } from '../store/types.ts';
import { Periodic } from './periodic.ts';
import { checkListener } from './plain-http.ts';

export interface OriginOptions {
  /** What is served. Closed with the origin. */
  readonly store: PrunableStore;
  /** The TUF repository. */
  readonly metadata: MetadataProvider;
  readonly listen: { readonly host: string; readonly port: number };
  readonly version: string;
  /** Signs timestamp and snapshot anew when they are due; asked every `resignMs` (default a minute) and once at the start. */
  readonly resign?: () => Promise<readonly Signature[]>;
  readonly resignMs?: number;
  /** Lets go of what no release needs any more and collects garbage. Default: the store's own gc. */
  readonly collect?: () => Promise<GcReport>;
  /** How often garbage is collected, milliseconds. Default once a day; 0 never. */
  readonly gcMs?: number;
  /** Who takes uploads, and the tokens that open it; ended with the origin. Nobody can upload without. */
  readonly uploads?: { readonly desk: UploadDesk & { close(): Promise<void> }; readonly tokens: readonly string[] };
  /** TLS with the fleet's certificates; plain HTTP without it. */
  readonly access?: Access;
  /** Who keeps what devices run; ended with the origin. */
  readonly runs?: OriginRuns;
  /** Gives devices their certificates. */
  readonly enrolment?: EnrolmentDesk;
  /** Listens without TLS where others can reach it. */
  readonly insecureHttp?: boolean;
  readonly limits?: SurfaceOptions['limits'];
  readonly clock?: Clock;
  /** Told what went wrong where nobody asked: signing, gc, damaged content (with its URL). */
  readonly onError?: (error: unknown, where: string) => void;
}

/** What devices run, at an origin. */
export interface OriginRuns extends RunsDesk {
  measure(registry: Registry): void;
  close(): void;
}

/** A role whose signature only a person can renew, and until when it stands. */
export interface Signature {
  readonly role: string;
  readonly expires: Date;
}

/** What an origin did, for the line it prints at the end. Bytes, heads included. */
export interface OriginLedger {
  readonly served: { readonly content: number; readonly control: number; readonly requests: number };
}

export interface Origin {
  readonly url: string;
  ledger(): OriginLedger;
  /** Ends gracefully: no new requests, running ones end, then the store is closed. */
  close(): Promise<void>;
}

const RESIGN_MS = 60_000;
const GC_MS = 24 * 3_600_000;

/** Starts an origin over a store and a TUF repository. Throws what the first signing throws: an origin that cannot sign is no use. */
export async function startOrigin(options: OriginOptions): Promise<Origin> {
  const { store, metadata, clock = systemClock, resign, uploads, gcMs = GC_MS } = options;
  checkListener(options.listen.host, options.access !== undefined, options.insecureHttp);
  const report = (where: string) => (error: unknown) => options.onError?.(error, where);
  const signed = (await resign?.()) ?? [];
  const surface = await createSurface({
    role: 'origin',
    version: options.version,
    content: new StoreContent(store, () => clock.now()),
    metadata,
    peers: new PeerRegistry(() => clock.now()),
    ...(options.runs === undefined ? {} : { runs: options.runs }),
    clock,
    control: (app, may) => {
      if (uploads !== undefined) uploadRoutes(uploads.desk, uploads.tokens)(app);
      if (options.enrolment !== undefined) enrolRoutes(app, options.enrolment, may);
    },
    ...(options.access === undefined ? {} : { access: options.access }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.onError === undefined ? {} : { onError: options.onError }),
  });
  const freed = new Gauge({ name: 'shoal_gc_freed_bytes', help: 'Bytes that the last garbage collection gave up.', registers: [surface.metrics.registry] });
  const kept = new Gauge({ name: 'shoal_store_bytes', help: 'Bytes that the last garbage collection kept.', registers: [surface.metrics.registry] });
  const ends = new Gauge({ name: 'shoal_offline_signature_expires_seconds', help: 'When the signature of a role ends that only offline keys renew, seconds since the epoch.', labelNames: ['role'] as const, registers: [surface.metrics.registry] });
  const note = (signatures: readonly Signature[]): void => {
    for (const { role, expires } of signatures) ends.set({ role }, expires.getTime() / 1000);
  };
  note(signed);
  options.runs?.measure(surface.metrics.registry);
  const sign = async (): Promise<void> => {
    note((await resign?.()) ?? []);
  };
  const collect = async (): Promise<void> => {
    const { freedBytes, keptBytes } = await (options.collect ?? (() => store.gc()))();
    freed.set(freedBytes);
    kept.set(keptBytes);
  };
  const url = await surface.listen(options.listen.host, options.listen.port);
  const turns = [
    ...(resign === undefined ? [] : [new Periodic(clock, options.resignMs ?? RESIGN_MS, sign, report('resign'))]),
    ...(gcMs === 0 ? [] : [new Periodic(clock, gcMs, collect, report('gc'))]),
  ];
  return {
    url,
    ledger: () => ({ served: { ...surface.metrics.totals } }),
    close: async () => {
      await Promise.all(turns.map((turn) => turn.stop()));
      await surface.close();
      await uploads?.desk.close();
      options.runs?.close();
      await store.close();
    },
  };
}
