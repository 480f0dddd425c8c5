import { Bitmap } from '../../core/bitmap.ts';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import { TORRENT_DIALS, TORRENT_PEERS_KNOWN, TORRENT_TURN_MS, TORRENT_UNCHOKED } from '../../core/limits.ts';
import type { RateLimiter } from '../../core/rate-limiter.ts';
import type { Source, SpanPlaces } from '../source.ts';
import { Connection } from './connection.ts';
import type { Crowd } from './crowd.ts';
import { dial } from './greet.ts';
import type { Greeted } from './greet.ts';
import { partsOf } from './layout.ts';
import type { TorrentLayout, TorrentPlace } from './layout.ts';
import { bitfieldOf, encodeGreeting } from './messages.ts';
import { TorrentSource, spanPiecesOf } from './source.ts';
import type { SpanPieces } from './source.ts';
import type { TrackerAnswer, TrackerReport } from './tracker.ts';
import type { TorrentAddress, TorrentContent } from './types.ts';

export interface SwarmParts {
  readonly layout: TorrentLayout;
  readonly content: TorrentContent;
  readonly clock: Clock;
  readonly crowd: Crowd;
  /** 40 hexadecimal digits: the name of this client. */
  readonly peerId: string;
  /** Where others reach it. */
  readonly port: number;
  readonly isNear: (host: string) => boolean;
  /** What comes from near and far is counted against these, and what goes out against `upload`. */
  readonly limiters: { readonly near: readonly RateLimiter[]; readonly far: readonly RateLimiter[] };
  readonly upload: RateLimiter | undefined;
  readonly announce: (report: TrackerReport, signal?: AbortSignal) => Promise<TrackerAnswer>;
  readonly onError: (error: unknown) => void;
}

interface Member {
  readonly address: TorrentAddress;
  readonly connection: Connection;
  readonly source: TorrentSource;
  /** When it was last sent to, or began to want something. */
  since: number;
}

interface Known {
  readonly address: TorrentAddress;
  failures: number;
  /** Not before this. */
  next: number;
}

const LOOK_MS = 1_000;
const AGAIN_FIRST_MS = 15_000;
const AGAIN_MOST_MS = 600_000;
/** With fewer clients than this the tracker is asked again as soon as it may be, milliseconds. */
const FEW = 4;
const FEW_MS = 30_000;
const STOPPED_MS = 1_000;

/** One torrent: the stock clients that this device is connected to, what they are told, and who of them is sent to. */
export class Swarm {
  readonly #parts: SwarmParts;
  readonly #members = new Set<Member>();
  readonly #known = new Map<string, Known>();
  readonly #held: Bitmap;
  readonly #spanPieces = new Map<ObjectId, Promise<SpanPieces>>();
  readonly #stop = new AbortController();
  #seen = '';
  #dialling = 0;
  #turned: number;
  #announceAt: number;
  #announced: 'nothing' | 'started' | 'completed' = 'nothing';
  #totals = { received: 0, sent: 0 };
  #looking: Promise<void> = Promise.resolve();
  #cancelLook: () => void = () => undefined;

  constructor(parts: SwarmParts) {
    this.#parts = parts;
    this.#held = new Bitmap(parts.layout.pieces);
    this.#turned = this.#announceAt = parts.clock.now();
    this.#next(0);
  }

  get layout(): TorrentLayout {
    return this.#parts.layout;
  }

  /** Content that came and went, bytes. */
  get totals(): Readonly<{ received: number; sent: number }> {
    return this.#totals;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Those that have something and send it. */
  get sources(): readonly Source[] {
    return [...this.#members].flatMap(({ connection, source }) => (connection.unchoked && connection.pieces.size > 0 ? [source] : []));
  }

  /** A client that came by itself. It is let in where there is room. */
  take(greeted: Greeted, address: TorrentAddress): void {
    const { layout: { infoHash }, peerId } = this.#parts;
    if (greeted.greeting.peerId === peerId) {
      greeted.socket.destroy();
      return;
    }
    greeted.socket.write(encodeGreeting({ infoHash, peerId }));
    this.#admit(greeted, address);
  }

  /** Returns when nothing of this device is read for it any more. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#cancelLook();
    const members = [...this.#members];
    for (const { connection } of members) connection.close('this device leaves the swarm');
    await Promise.all([this.#looking, ...members.map(({ connection }) => connection.settled())]);
    if (this.#announced !== 'nothing') await this.#parts.announce(this.#report('stopped'), AbortSignal.timeout(STOPPED_MS)).catch(() => undefined);
  }

  #admit({ rest, socket }: Greeted, address: TorrentAddress): void {
    const { clock, content, crowd, isNear, layout, limiters, upload } = this.#parts;
    if (this.#stop.signal.aborted || !crowd.enter(address)) {
      socket.destroy();
      return;
    }
    const near = isNear(address.host);
    const connection: Connection = new Connection({
      socket, rest, layout, content, clock, upload,
      limiters: near ? limiters.near : limiters.far,
      onBytes: (received, sent) => {
        this.#totals = { received: this.#totals.received + received, sent: this.#totals.sent + sent };
        member.source.received(received);
      },
      onClose: () => {
        if (!this.#members.delete(member)) return;
        crowd.leave(address);
        void member.source.close();
      },
    });
    const source = new TorrentSource({
      name: `torrent://${address.host.includes(':') ? `[${address.host}]` : address.host}:${String(address.port)}`,
      near, layout, connection,
      now: () => clock.now(),
      spanPieces: (place, spans, places) => this.#placesOf(place, spans, places),
      onLie: () => {
        crowd.caught(address);
        this.#known.delete(nameOf(address));
        connection.close('it sent wrong bytes');
      },
    });
    const member: Member = { address, connection, source, since: clock.now() };
    this.#members.add(member);
    connection.begin(bitfieldOf((piece) => this.#held.has(piece), layout.pieces));
  }

  #placesOf(place: TorrentPlace, spans: number, places: SpanPlaces): Promise<SpanPieces> {
    const { root } = place.key;
    const known = this.#spanPieces.get(root) ?? spanPiecesOf(this.#parts.layout, place, spans, places);
    this.#spanPieces.set(root, known);
    known.catch(() => this.#spanPieces.delete(root));
    return known;
  }

  #next(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#cancelLook = this.#parts.clock.after(ms, () => {
      this.#looking = this.#look().catch(this.#parts.onError).then(() => { this.#next(LOOK_MS); });
    }, 'background');
  }

  async #look(): Promise<void> {
    await this.#lookWhatIsHeld();
    if (this.#stop.signal.aborted) return;
    for (const { connection } of this.#members) {
      if (this.#held.complete && connection.pieces.complete) connection.close('neither has anything for the other');
      else connection.want(!this.#held.complete && connection.pieces.size > 0);
    }
    this.#turns();
    this.#dial();
    if (this.#parts.clock.now() >= this.#announceAt || (this.#held.complete && this.#announced === 'started')) await this.#announce();
  }

  async #lookWhatIsHeld(): Promise<void> {
    const { content, layout } = this.#parts;
    if (this.#held.complete) return;
    const seen = (await Promise.all(layout.parts.map(({ key }) => content.spans(key)))).join();
    if (seen === this.#seen) return;
    this.#seen = seen;
    for (let piece = 0; piece < layout.pieces && !this.#stop.signal.aborted; piece++) {
      if (this.#held.has(piece)) continue;
      const from = piece * layout.pieceLength;
      let here = true;
      for (const part of partsOf(layout, from, Math.min(layout.size, from + layout.pieceLength))) here &&= await content.has(part.key, part.from, part.to);
      if (!here) continue;
      this.#held.add(piece);
      for (const { connection } of this.#members) if (!connection.pieces.has(piece)) connection.have(piece);
    }
  }

  /** Who wants something is sent to, and where there are too many they take turns: who had none for longest first. */
  #turns(): void {
    const now = this.#parts.clock.now();
    const members = [...this.#members];
    for (const { connection } of members) if (!connection.wanting) connection.serve(false);
    const wanting = members.filter(({ connection }) => connection.wanting);
    const waiting = wanting.filter(({ connection }) => !connection.served).sort((a, b) => a.since - b.since);
    const served = wanting.filter(({ connection }) => connection.served).sort((a, b) => a.since - b.since);
    const turn = now - this.#turned >= TORRENT_TURN_MS;
    if (turn) this.#turned = now;
    const free = TORRENT_UNCHOKED - served.length;
    const give = Math.min(waiting.length, free > 0 ? free : turn ? Math.ceil(TORRENT_UNCHOKED / 4) : 0);
    for (const member of served.slice(0, Math.max(0, give - Math.max(0, free)))) {
      member.since = now;
      member.connection.serve(false);
    }
    for (const member of waiting.slice(0, give)) {
      member.since = now;
      member.connection.serve(true);
    }
  }

  #dial(): void {
    const { clock } = this.#parts;
    const now = clock.now();
    const connected = new Set([...this.#members].map(({ address }) => nameOf(address)));
    for (const known of this.#known.values()) {
      if (this.#dialling >= TORRENT_DIALS) return;
      if (known.next > now || connected.has(nameOf(known.address))) continue;
      known.next = now + Math.min(AGAIN_MOST_MS, AGAIN_FIRST_MS * 2 ** known.failures);
      void this.#dialOne(known);
    }
  }

  async #dialOne(known: Known): Promise<void> {
    const { clock, layout: { infoHash }, peerId } = this.#parts;
    this.#dialling++;
    const greeted = await dial(known.address, { infoHash, peerId }, clock, this.#stop.signal);
    this.#dialling--;
    known.failures = greeted === undefined ? known.failures + 1 : 0;
    if (greeted !== undefined) this.#admit(greeted, known.address);
  }

  async #announce(): Promise<void> {
    const { announce, clock } = this.#parts;
    const event = this.#announced === 'nothing' ? 'started' : this.#held.complete && this.#announced === 'started' ? 'completed' : undefined;
    this.#announceAt = clock.now() + FEW_MS;
    const { intervalMs, peers } = await announce(this.#report(event), this.#stop.signal);
    this.#announceAt = clock.now() + (this.#held.complete || this.#members.size >= FEW ? intervalMs : Math.min(FEW_MS, intervalMs));
    this.#announced = this.#held.complete ? 'completed' : 'started';
    for (const address of peers) this.#note(address);
  }

  #report(event: TrackerReport['event']): TrackerReport {
    const { layout: { infoHash, pieceLength, size }, peerId, port } = this.#parts;
    const { received, sent } = this.#totals;
    const left = this.#held.complete ? 0 : Math.max(1, size - this.#held.size * pieceLength);
    return { infoHash, peerId, port, uploaded: sent, downloaded: received, left, ...(event === undefined ? {} : { event }) };
  }

  /** Remembers an address, and forgets the one that came first where there are too many. */
  #note(address: TorrentAddress): void {
    const name = nameOf(address);
    if (this.#known.has(name)) return;
    this.#known.set(name, { address, failures: 0, next: 0 });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= TORRENT_PEERS_KNOWN) return;
      this.#known.delete(oldest);
    }
  }
}

function nameOf({ host, port }: TorrentAddress): string {
  return `${host} ${String(port)}`;
}
