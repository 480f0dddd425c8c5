import { FleetAuthority } from '../../src/identity/authority.ts';
import { Fleet } from '../../src/identity/fleet.ts';
import type { Holder } from '../../src/identity/holder.ts';
import { deviceIdOf, newKeyPair, spkiOf } from '../../src/identity/key.ts';
import { Revocations } from '../../src/identity/revocations.ts';
import { FleetClient } from '../../src/identity/tls.ts';
import type { Expected, Member } from '../../src/identity/tls.ts';
import { HttpClient } from '../../src/exchange/http.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { livedClock } from './lived-clock.ts';

const clock = livedClock();

/** A fleet for a test, in a directory of its own. */
export async function makeFleet(directory: string, now = Date.now()): Promise<Fleet> {
  await FleetAuthority.create(nodeFiles, directory, now);
  return Fleet.open(nodeFiles, directory, () => now);
}

export type TestMember = Member & { readonly holder: Holder; renew(now: number): Promise<void> };

/** A member of the fleet whose certificates were issued at `at`; none of it lies on a medium. */
export async function makeMember({ authority }: Fleet, scope: Pick<Holder, 'role'> & Partial<Holder>, at = Date.now(), today: () => number = Date.now): Promise<TestMember> {
  const { privateKey, publicKey } = newKeyPair();
  const holder: Holder = { fleet: authority.fleet, device: deviceIdOf(spkiOf(publicKey)), site: undefined, products: [], ...scope };
  const listeners = new Set<() => void>();
  let issued = await authority.issue(holder, publicKey, at);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  return {
    fleet: authority.fleet,
    holder,
    revocations: new Revocations(authority.fleet, authority.anchors),
    get server() {
      return { key, cert: issued.server, ca: authority.ca };
    },
    get client() {
      return { key, cert: issued.client, ca: authority.ca };
    },
    today,
    onRenewed: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    renew: async (now) => {
      issued = await authority.issue(holder, publicKey, now);
      for (const listener of listeners) listener();
    },
  };
}

export function clientOf(member: Member, expected: Expected = 'neighbour'): HttpClient {
  return new HttpClient({ clock, tls: new FleetClient(member).optionsFor(expected) });
}
