/** What is known of a member of a site: what it is, what it says, and what was seen of it. */

export interface Member {
  readonly instance: string;
  /** Its share of the work next to others, above 0: less for a battery or a dearer link. */
  readonly weight: number;
  /** What bringing all of it costs the member, bytes of a delta; `Infinity` without one. Undefined: not known yet. */
  readonly bytes?: number | undefined;
  /** False: it is there, and not known to want the artifact. It is given a moment to hear of it. Default true. */
  readonly joined?: boolean | undefined;
  /** Of one that has not joined: it says that it is looking whether that is news for it, or that it is not. Undefined: it said nothing yet. */
  readonly looking?: boolean | undefined;
  /** False: it was not asked yet, and may be bringing anything; nobody crosses before it was. Default true. */
  readonly asked?: boolean | undefined;
  /** False: nobody has ever answered under its name. Whoever can send a packet on the LAN can name members. Default true. */
  readonly met?: boolean | undefined;
  /** There are enough others that bring things: none of it is for this one, which may all the same have something, or be bringing it. Default false. */
  readonly standby?: boolean | undefined;
}

/** What a member says of itself. */
export interface Said {
  /** How many spans it holds, and which. */
  readonly held: number;
  readonly has?: (span: number) => boolean;
  /** How many spans the artifact has. Without it, every span that it holds more is taken for one that it brought. */
  readonly count?: number;
  /** It is at work to get more. */
  readonly working: boolean;
  /** What bringing all of it costs it. */
  readonly bytes?: number | undefined;
  /** Spans that it is bringing over the backhaul now. */
  readonly bringing?: readonly number[] | undefined;
}

/** What one member remembers of another. */
export interface Seen {
  readonly hash: number;
  readonly weight: number;
  bytes: number | undefined;
  joined: boolean;
  looking: boolean | undefined;
  /** It can be reached, and did not answer in time when it was asked last. */
  busy: boolean;
  held: number;
  /** When it was first heard of. */
  readonly since: number;
  /** When what it holds last grew, or it was first heard of. */
  grew: number;
  /** When it last showed a sign of life. */
  alive: number;
  /** When it last had a span that it had said it was bringing, or that nobody else had shown before, or was first heard of. */
  brought: number;
  /** How long that took it, milliseconds; undefined while it is not known. */
  pace: number | undefined;
  /** Spans that it says it is bringing, and since when. */
  claims: ReadonlyMap<number, number>;
  /** Of what this device is bringing, what it says that it is bringing as well. */
  rivals: readonly number[];
  /** When it had had a turn for too long without bringing anything. */
  passed: number | undefined;
  /** How many of these came to nothing, since the last that did not. */
  broken: number;
  /** It has answered, or could not be asked. */
  heard: boolean;
  /** When it was asked what it answered last. */
  askedLast: number;
  /** It has answered at some time: it is there. */
  met: boolean;
  /** It was caught with wrong bytes: nothing is left to it. */
  liar: boolean;
  /** Others bring things. */
  standby: boolean;
}
