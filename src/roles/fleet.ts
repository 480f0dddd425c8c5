import { systemClock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import { enrolDevice, renewDevice } from '../exchange/enroll.ts';
import { FleetAuthority } from '../identity/authority.ts';
import type { OwnAuthority } from '../identity/authority.ts';
import { Credentials } from '../identity/credentials.ts';
import { Fleet } from '../identity/fleet.ts';
import { needServer } from '../publish/upkeep.ts';
import { nodeFiles } from '../store/files.ts';
import type { TrustHome } from '../trust/repository/home.ts';
import { checkHost } from './plain-http.ts';

/** Makes the certificate authority of a home, or takes over the operator's own. Throws `FLEET_EXISTS`, `BAD_AUTHORITY`, `NOT_A_SERVER`. */
export async function makeFleet(home: TrustHome, own?: OwnAuthority): Promise<{ readonly fleet: string; readonly ca: string }> {
  await needServer(home);
  const authority = await home.exclusively(() => FleetAuthority.create(home.files, home.paths.fleet, home.now().getTime(), own));
  return { fleet: authority.fleet, ca: home.paths.fleet };
}

/** The fleet of a home; undefined when it has none, unless one is to be made. The caller closes it. */
export async function openFleet(home: TrustHome, make: boolean): Promise<Fleet | undefined> {
  const open = (): Promise<Fleet> => Fleet.open(home.files, home.paths.fleet, () => home.now().getTime());
  try {
    return await open();
  } catch (error) {
    if (!isShoalError(error, 'NO_FLEET')) throw error;
    if (!make) return undefined;
  }
  await makeFleet(home).catch((error: unknown) => {
    // Another process was first.
    if (!isShoalError(error, 'FLEET_EXISTS')) throw error;
  });
  return open();
}

/** Renews an identity now, whether or not it is due. Throws what `renewDevice` throws. */
export async function renew(identity: string, origin: string | undefined): Promise<Credentials> {
  const credentials = await Credentials.open(nodeFiles, identity, Date.now);
  await renewDevice(credentials, origin ?? credentials.origin, systemClock);
  await credentials.settled();
  return credentials;
}

export interface EnrolDeviceOptions {
  readonly origin: string;
  readonly token: string;
  /** Where the identity is to lie. */
  readonly identity: string;
  readonly insecureHttp?: boolean;
}

/** Gets an identity for this device. Throws what `enrolDevice` of src/exchange throws, and `PLAIN_HTTP`. */
export async function enrol({ origin, token, identity, insecureHttp }: EnrolDeviceOptions): Promise<Credentials> {
  checkHost(origin, insecureHttp);
  return enrolDevice({ files: nodeFiles, directory: identity, origin, token, clock: systemClock, today: Date.now });
}
