import { Counter, Gauge, Registry } from 'prom-client';

export type Plane = 'content' | 'control';

/** What every host counts. Roles add their own to `registry`. */
export class SurfaceMetrics {
  readonly registry = new Registry();
  readonly #requests = new Counter({
    name: 'shoal_http_requests_total',
    help: 'Requests answered, by plane, route and status.',
    labelNames: ['plane', 'route', 'status'] as const,
    registers: [this.registry],
  });
  readonly #sent = new Counter({ name: 'shoal_http_sent_bytes_total', help: 'Bytes sent, heads included, by plane.', labelNames: ['plane'] as const, registers: [this.registry] });
  readonly #refused = new Counter({ name: 'shoal_http_refused_total', help: 'Content requests refused because all places were taken.', registers: [this.registry] });
  readonly #cut = new Counter({ name: 'shoal_connections_cut_total', help: 'Connections cut because whoever made them had as many as they may, or sent too many requests ahead.', registers: [this.registry] });
  readonly #broken = new Counter({
    name: 'shoal_http_broken_total',
    help: 'Content responses cut after they began, by error code.',
    labelNames: ['code'] as const,
    registers: [this.registry],
  });
  readonly totals = { requests: 0, content: 0, control: 0 };

  constructor(inFlight: () => number) {
    new Gauge({
      name: 'shoal_http_content_responses',
      help: 'Content responses being sent.',
      registers: [this.registry],
      collect() {
        this.set(inFlight());
      },
    });
    new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory size in bytes.',
      registers: [this.registry],
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
  }

  answered(plane: Plane, route: string, status: number, bytes: number): void {
    this.#requests.inc({ plane, route, status: String(status) });
    this.#sent.inc({ plane }, bytes);
    this.totals.requests++;
    this.totals[plane] += bytes;
  }

  refused(): void {
    this.#refused.inc();
  }

  cut(): void {
    this.#cut.inc();
  }

  broken(code: string): void {
    this.#broken.inc({ code });
  }
}
