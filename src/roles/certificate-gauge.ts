import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Membership } from './membership.ts';

/** Apart from the membership itself: whoever only fetches has nobody to tell, and would load the metrics of servers for nothing. */
export function measureCertificate(registry: Registry, { credentials }: Membership): void {
  new Gauge({
    name: 'shoal_certificate_expires_seconds', help: "When this host's certificate ends, seconds since the epoch.", registers: [registry],
    collect() {
      this.set(credentials.ends / 1000);
    },
  });
}
