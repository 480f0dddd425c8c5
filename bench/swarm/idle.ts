import { idleDays } from '../../test/support/news-days.ts';
import type { Measured, Setting } from './scenarios.ts';
import { settled } from './scenarios.ts';

/** Certificates are good for seven days and renewed after 0.6 to 0.8 of that. */
const RENEWALS_A_DAY = 1 / (7 * 0.7);
/** How long it is watched by default, seconds. */
export const WATCHED_S = 150;
/** Polls must be further apart than an idle connection lives, or they would share one. */
export const IDLE_POLL_S = 6;

/**
 * What a site costs in a day on which nothing happens. A day cannot be waited for: polls come every six seconds instead of
 * every five minutes, each with a connection of its own as in a day, and what one costs is multiplied by how many there are in a day of
 * the devices' own code on a virtual clock, at the default interval: the one member's, and those of members that ask for themselves. What happens
 * less often (a new timestamp, renewals) is measured one by one and counted as often as it happens.
 */
export async function idle(setting: Setting, most: number, watchedS: number): Promise<Measured> {
  const { bed, devices, prepared, random, site } = setting;
  await settled(setting);
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  const [before, asked, since] = [bed.backhaul, await site.requests(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, watchedS * 1000));
  const seconds = (performance.now() - since) / 1000;
  const after = bed.backhaul;
  const polls = (await site.requests()) - asked;
  const [down, up] = [after.down - before.down, after.up - before.up];
  const perPoll = (down + up) / Math.max(1, polls);
  let renewal = 0;
  if (prepared.identities !== undefined) {
    const [start, polled] = [bed.backhaul, await site.requests()];
    await site.renew(0);
    const end = bed.backhaul;
    renewal = end.down + end.up - start.down - start.up - ((await site.requests()) - polled) * perPoll;
  }
  const { afar, fresh } = await idleDays({ members: devices, days: 1, random });
  const timestamp = Buffer.byteLength(await site.fetch('/v1/tuf/metadata/timestamp.json'));
  const [expected, timestamps, renewals] = [afar * perPoll, fresh * timestamp, devices * RENEWALS_A_DAY * renewal];
  const day = Math.round(expected + timestamps + renewals);
  const tooMany = polls > (seconds / IDLE_POLL_S) * 1.5;
  return {
    content: 0, ledgers: [], seconds, interfaceBytes: { down, up },
    notes: { 'watched, s': Math.round(seconds), 'bytes a poll': Math.round(perPoll), polls, 'polls expected': Math.round(seconds / IDLE_POLL_S), 'polls a day': Math.round(afar), 'bytes for them': Math.round(expected), 'for new timestamps': Math.round(timestamps), 'for renewals': Math.round(renewals), 'bytes a day': day },
    failures: [...(day <= most ? [] : [`${String(day)} bytes a day, not ${String(most)}`]), ...(tooMany ? ['more than one member asks the origin'] : [])],
  };
}
