import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Bitmap } from '../../core/bitmap.ts';
import type { Ledger } from '../../exchange/ledger.ts';
import type { FileContent } from '../../serve/file-content.ts';
import { measureCertificate } from '../certificate-gauge.ts';
import type { Neighbours } from '../device/neighbours.ts';
import type { Membership } from '../membership.ts';
import type { DeviceState } from './state.ts';
import type { AgentTorrents } from './torrents.ts';

interface MeasuredParts {
  readonly content: FileContent;
  readonly member: Membership | undefined;
  readonly neighbours: Neighbours;
  readonly received: () => Ledger;
  readonly state: DeviceState;
  readonly torrents: AgentTorrents | undefined;
}

/** What operators see of an agent (docs/operations.md, "Metrics"). */
export function measureAgent(registry: Registry, { content, member, neighbours, received, state, torrents }: MeasuredParts): void {
  if (member !== undefined) measureCertificate(registry, member);
  const registers = [registry];
  new Gauge({
    name: 'shoal_installed_sequence', help: 'Sequence number of the installed release, by product.', labelNames: ['product'] as const, registers,
    collect() {
      for (const { manifest } of state.all) this.set({ product: manifest.product }, manifest.sequence);
    },
  });
  new Gauge({
    name: 'shoal_received_bytes', help: 'Bytes of updates since the start, finished or not, by where they came from.', labelNames: ['source'] as const, registers,
    collect() {
      const { local, delta, peer, gateway, origin, torrent, control } = received();
      for (const [source, bytes] of Object.entries({ local, delta, peer, gateway, origin, torrent, control })) this.set({ source }, bytes);
    },
  });
  if (torrents !== undefined) measureTorrents(registers, torrents);
  const releaseSpans = (name: string, help: string, count: (spans: Bitmap) => number): void => {
    new Gauge({
      name, help, labelNames: ['product', 'version'] as const, registers,
      async collect() {
        this.reset();
        for (const { release, spans } of await content.holdings()) if (release !== undefined) this.inc({ ...release }, count(spans));
      },
    });
  };
  releaseSpans('shoal_spans', 'Spans of what is installed or on its way, by product and version.', ({ count }) => count);
  releaseSpans('shoal_held_spans', 'Those of them that are here.', ({ size }) => size);
  new Gauge({
    name: 'shoal_bringing_spans', help: 'Spans that are being brought over the backhaul.', registers,
    async collect() {
      this.set((await content.holdings()).reduce((sum, { bringing }) => sum + (bringing?.size ?? 0), 0));
    },
  });
  new Gauge({
    name: 'shoal_neighbours', help: 'Hosts of the site that are known, by role.', labelNames: ['role'] as const, registers,
    collect() {
      this.set({ role: 'agent' }, neighbours.members.length);
      this.set({ role: 'gateway' }, neighbours.gateways.length);
    },
  });
}

function measureTorrents(registers: Registry[], torrents: AgentTorrents): void {
  new Gauge({
    name: 'shoal_torrent_connections', help: 'Stock BitTorrent clients that are connected.', registers,
    collect() {
      this.set(torrents.connections);
    },
  });
  new Gauge({
    name: 'shoal_torrent_bytes', help: 'Content from and to stock BitTorrent clients since the start.', labelNames: ['direction'] as const, registers,
    collect() {
      const { received, sent } = torrents.totals;
      this.set({ direction: 'received' }, received);
      this.set({ direction: 'sent' }, sent);
    },
  });
}
