import { systemClock } from '../../core/clock.ts';
import { REVOCATIONS_LOOK_MS } from '../../core/limits.ts';
import { wire } from '../../core/wire.ts';
import { EnrolmentDesk } from '../../identity/desk.ts';
import { OriginMember } from '../../identity/origin-member.ts';
import type { Access } from '../../serve/access.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import { openFleet } from '../fleet.ts';
import { Periodic } from '../periodic.ts';
import { isLoopback } from '../plain-http.ts';
import { HomeUses } from './uses.ts';

export interface FleetDeskOptions {
  readonly listen: { readonly host: string };
  readonly tls?: boolean;
  readonly names?: readonly string[];
  readonly insecureHttp?: boolean;
  /** Whether uploads are taken: who publishes has a token and no certificate. */
  readonly uploads: boolean;
  readonly onError?: (error: unknown, where: string) => void;
}

/** What an origin has of its fleet: who enrols devices, and TLS where it listens with it. */
export interface FleetDesk {
  readonly forOrigin: { readonly enrolment: EnrolmentDesk; readonly access?: Access };
  close(): Promise<void>;
}

/** Opens the fleet of a home; makes one where TLS needs it; undefined where there is none and none is needed. */
export async function startFleetDesk(home: TrustHome, { listen, tls, names = [], insecureHttp, uploads, onError }: FleetDeskOptions): Promise<FleetDesk | undefined> {
  const secure = tls ?? (insecureHttp !== true && !isLoopback(listen.host));
  const fleet = await openFleet(home, secure);
  if (fleet === undefined) return undefined;
  const today = (): number => home.now().getTime();
  try {
    const own = ['0.0.0.0', '::'].includes(listen.host) ? [] : [listen.host];
    const member = await OriginMember.open(fleet, secure ? [...new Set([...names, ...own])] : undefined, today);
    const failed = (error: unknown): void => {
      onError?.(error, 'identity');
    };
    const looking = new Periodic(systemClock, REVOCATIONS_LOOK_MS, async () => {
      await member.renewIfDue();
      await member.look();
    }, failed);
    const uses = new HomeUses(home, systemClock);
    const access: Access = { member, open: [wire.anchors, wire.enrol, wire.renew, ...(uploads ? [wire.uploads, `${wire.uploads}/`] : [])], admits: () => true, uses: (root) => uses.of(root) };
    return {
      forOrigin: { enrolment: new EnrolmentDesk(fleet, member.revocations, systemClock, today), ...(secure ? { access } : {}) },
      close: async () => {
        await looking.stop();
        fleet.close();
      },
    };
  } catch (error) {
    fleet.close();
    throw error;
  }
}
