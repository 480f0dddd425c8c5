import { AUTHORITATIVE_ANSWER } from 'dns-packet';
import type { Answer, DecodedPacket } from 'dns-packet';
import type { Clock } from '../core/clock.ts';
import { isName } from '../core/names.ts';
import { Crowd } from './crowd.ts';
import { MulticastSocket } from './multicast.ts';
import type { Discovery, Seen } from './types.ts';

/**
 * Neighbours on the LAN by DNS-SD over multicast DNS (RFC 6763, RFC 6762), so that standard tools can see them
 * (`avahi-browse _shoal._tcp`). An announcement says that a host is there, and nothing of products or versions. Names are
 * random, 122 bits, so there is nothing to probe for. IPv4; it reaches as far as the link does.
 */
export interface MdnsOptions {
  readonly instance: string;
  readonly port: number;
  readonly role: Seen['role'];
  /** Whether it speaks TLS with certificates of a fleet. Hosts that do and hosts that do not are nothing to each other. */
  readonly secure?: boolean;
  /**
   * Asks the host at a URL whether it is the gateway that it says it is; one that does not prove it is not seen. A device asks a
   * gateway for everything, so one that anybody makes up would cost it more than a neighbour.
   */
  readonly proves?: (url: string) => Promise<boolean>;
  /** Looks, and does not announce itself. */
  readonly silent?: boolean;
  /** Address of the interface to speak on. Default: all. */
  readonly interface?: string;
  readonly clock: Clock;
  /** Another UDP port than 5353, for tests that are not to hear each other. */
  readonly udpPort?: number;
}

const SERVICE = '_shoal._tcp.local';
/** Lists the kinds of services there are (RFC 6763, 9). */
const SERVICES = '_services._dns-sd._udp.local';
/** RFC 6762, 10: records with a host's address live two minutes. Seconds. */
const TTL_S = 120;
/** Queries: at once, then ever more rarely (RFC 6762, 5.2), but often enough to renew what would run out. Milliseconds. */
const ASK_FIRST_MS = 1_000;
const ASK_MOST_MS = 60_000;
/**
 * What one asks, all answer, and all hear: whoever has heard a question of another need not ask as well, and questions are so
 * far apart for every host that is known. However many there are, that comes to four answers a second.
 */
const ASK_PER_HOST_MS = 250;
const ASK_APART_MOST_MS = 40_000;
/** RFC 6762, 6: the same records are not multicast more than once a second. */
const ANSWER_MS = 1_000;

/** Gateways asked at a time for proof, how soon one is asked again that gave none, and how many answers are remembered. */
const PROOFS_AT_ONCE = 4;
const PROOF_AGAIN_MS = 60_000;
const PROOFS_MAX = 64;

/** Starts to announce and to listen. Throws `DISCOVERY` when the port or the interface cannot be had. */
export async function startMdns(options: MdnsOptions): Promise<Discovery> {
  const made: { discovery?: MdnsDiscovery } = {};
  const socket = await MulticastSocket.open({
    interface: options.interface,
    port: options.udpPort,
    clock: options.clock,
    onMessage: (message, sender) => {
      made.discovery?.hear(message, sender);
    },
  });
  made.discovery = new MdnsDiscovery(options, socket);
  return made.discovery;
}

class MdnsDiscovery implements Discovery {
  readonly #options: MdnsOptions;
  readonly #socket: MulticastSocket;
  readonly #host: string;
  readonly #name: string;
  readonly #crowd: Crowd;
  /** By URL of what says it is a gateway: whether it has proved it, and when it may be asked again. */
  readonly #proofs = new Map<string, { readonly good: boolean; readonly again: number }>();
  #proving = 0;
  #pause = ASK_FIRST_MS;
  #answered = -Infinity;
  /** When all were last asked, by whomever. */
  #asked = -Infinity;
  #cancel: () => void = () => undefined;
  readonly #cancelSecond: () => void;

  constructor(options: MdnsOptions, socket: MulticastSocket) {
    this.#options = options;
    this.#socket = socket;
    this.#crowd = new Crowd(options.clock);
    this.#host = `${options.instance}.local`;
    this.#name = `${options.instance}.${SERVICE}`;
    this.#announce();
    // RFC 6762, 8.3: twice at least, for the first may be lost.
    this.#cancelSecond = options.clock.after(ANSWER_MS, () => {
      this.#announce();
    });
    this.#asking();
  }

  hear({ type, questions = [], answers = [], additionals = [] }: DecodedPacket, sender: string): void {
    if (type === 'response') this.#learn([...answers, ...additionals], sender);
    else if (questions.some((question) => this.#concerns(question.name, question.type))) {
      // With answers in the question not everybody answers it (RFC 6762, 7.1).
      if (answers.length === 0 && questions.some(({ name }) => name.toLowerCase() === SERVICE)) this.#asked = this.#options.clock.now();
      this.#announce();
    }
  }

  get seen(): readonly Seen[] {
    return this.#crowd.seen;
  }

  ask(): void {
    const now = this.#options.clock.now();
    if (now - this.#asked < Math.min(this.#crowd.size * ASK_PER_HOST_MS, ASK_APART_MOST_MS)) return;
    this.#asked = now;
    void this.#socket.send({ type: 'query', questions: [{ name: SERVICE, type: 'PTR' }] });
  }

  async close(): Promise<void> {
    this.#cancel();
    this.#cancelSecond();
    if (this.#options.silent === true) {
      await this.#socket.close();
      return;
    }
    // RFC 6762, 10.1: a time to live of zero is a goodbye.
    await this.#say(0);
    await this.#socket.close();
  }

  #asking(): void {
    this.ask();
    this.#cancel = this.#options.clock.after(this.#pause, () => {
      this.#pause = Math.min(3 * this.#pause, ASK_MOST_MS);
      this.#asking();
    });
  }

  #concerns(name: string, type: string): boolean {
    const asked = name.toLowerCase();
    if (asked === SERVICE || asked === SERVICES) return type === 'PTR' || type === 'ANY';
    return asked === this.#name.toLowerCase() || asked === this.#host.toLowerCase();
  }

  #announce(): void {
    const now = this.#options.clock.now();
    if (this.#options.silent === true || now - this.#answered < ANSWER_MS) return;
    this.#answered = now;
    void this.#say(TTL_S);
  }

  #say(ttl: number): Promise<void> {
    return this.#socket.send({ type: 'response', flags: AUTHORITATIVE_ANSWER, answers: this.#records(ttl) });
  }

  #records(ttl: number): Answer[] {
    const { instance, port, role, secure, interface: address } = this.#options;
    return [
      { name: SERVICES, type: 'PTR', ttl, data: SERVICE },
      { name: SERVICE, type: 'PTR', ttl, data: this.#name },
      { name: this.#name, type: 'SRV', ttl, data: { port, target: `${instance}.local`, priority: 0, weight: 0 } },
      { name: this.#name, type: 'TXT', ttl, data: ['txtvers=1', `role=${role}`, ...(secure === true ? ['tls=1'] : [])] },
      ...(address === undefined ? [] : [{ name: this.#host, type: 'A' as const, ttl, data: address }]),
    ];
  }

  /** Takes what a response says of hosts of ours; the rest of the LAN's talk is nobody's business. */
  #learn(records: readonly Answer[], sender: string): void {
    const roles = new Map<string, Seen['role']>();
    const secure = new Set<string>();
    for (const record of records) {
      if (record.type !== 'TXT') continue;
      const texts = [record.data].flat().map(String);
      roles.set(record.name, texts.includes('role=gateway') ? 'gateway' : 'agent');
      if (texts.includes('tls=1')) secure.add(record.name);
    }
    for (const record of records) {
      if (record.type !== 'SRV' || !record.name.endsWith(`.${SERVICE}`)) continue;
      const instance = record.name.slice(0, -SERVICE.length - 1);
      const { port } = record.data;
      if (!isName(instance) || instance === this.#options.instance) continue;
      if (record.ttl === 0) this.#crowd.left(instance, sender);
      else if (port >= 1 && port <= 65_535 && secure.has(record.name) === (this.#options.secure === true)) {
        // Where it came from, whatever its records say: nobody is to send others to a third place.
        const url = `${this.#options.secure === true ? 'https' : 'http'}://${sender}:${String(port)}`;
        const seen: Seen = { instance, url, role: roles.get(record.name) ?? 'agent' };
        const lifeMs = Math.min(record.ttl ?? TTL_S, TTL_S) * 1000;
        if (seen.role === 'gateway' && this.#options.proves !== undefined) this.#prove(seen, sender, lifeMs, this.#options.proves);
        else this.#crowd.heard(seen, sender, lifeMs);
      }
    }
  }

  #prove(seen: Seen, sender: string, lifeMs: number, proves: (url: string) => Promise<boolean>): void {
    const { clock } = this.#options;
    const known = this.#proofs.get(seen.url);
    if (known?.good === true) this.#crowd.heard(seen, sender, lifeMs);
    if (known === undefined ? this.#proving >= PROOFS_AT_ONCE : known.good || known.again > clock.now()) return;
    const note = (good: boolean): void => {
      this.#proofs.delete(seen.url);
      this.#proofs.set(seen.url, { good, again: clock.now() + PROOF_AGAIN_MS });
      for (const oldest of this.#proofs.keys()) {
        if (this.#proofs.size <= PROOFS_MAX) break;
        this.#proofs.delete(oldest);
      }
    };
    note(false);
    this.#proving++;
    void proves(seen.url).catch(() => false).then((good) => {
      this.#proving--;
      note(good);
      if (good) this.#crowd.heard(seen, sender, lifeMs);
    });
  }
}
