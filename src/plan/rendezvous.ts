/** `instances` in an order that depends on `key` and is the same at every device. */
export function inOrder(key: string, instances: readonly string[]): readonly string[] {
  const hashed = instances.map((instance) => ({ instance, hash: hashOf(key, instance) }));
  return hashed.sort((a, b) => a.hash - b.hash || (a.instance < b.instance ? -1 : 1)).map(({ instance }) => instance);
}

/** Of a member, for all that is to be dealt out under `root`. */
export function hashOf(root: string, instance: string): number {
  return textHash(`${root} ${instance}`);
}

/** Weighted rendezvous: −w / ln u wins with probability proportional to w (Efraimidis and Spirakis, 2006, in logarithms). */
export function score({ hash, weight }: { readonly hash: number; readonly weight: number }, lot: number): number {
  return -weight / Math.log((mix(hash ^ Math.imul(lot + 1, 0x9e3779b1)) + 0.5) / 2 ** 32);
}

/** FNV-1a, 32 bits, mixed. Not a secret: whoever chooses a name to win every turn gains work, and is passed over when idle. */
function textHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mix(hash);
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
function mix(value: number): number {
  let mixed = value >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
