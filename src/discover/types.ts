/** A host of Shoal that was seen nearby. Anybody may claim to be one: what it serves is verified, what it says is not. */
export interface Seen {
  /** A random name for as long as it runs. */
  readonly instance: string;
  /** `http://ADDRESS:PORT`. */
  readonly url: string;
  readonly role: 'agent' | 'gateway';
}

/** One way to learn who else is at a site. */
export interface Discovery {
  /** Who was seen lately, at most `PEERS_MAX`. */
  readonly seen: readonly Seen[];
  /** Asks now, because something is to be fetched; the answers come in their time. */
  ask(): void;
  /** Says goodbye and ends. */
  close(): Promise<void>;
}
