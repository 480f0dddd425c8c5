import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FleetAuthority } from '../../src/identity/authority.ts';
import { Credentials } from '../../src/identity/credentials.ts';
import { EnrolmentDesk } from '../../src/identity/desk.ts';
import { Fleet } from '../../src/identity/fleet.ts';
import { Revocations } from '../../src/identity/revocations.ts';
import { parseToken } from '../../src/identity/token.ts';
import { makeDirectories } from '../../src/store/durable.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { CrashFiles } from '../support/crash-files.ts';
import type { CrashPolicy } from '../support/crash-files.ts';
import { ManualClock } from '../support/manual-clock.ts';

const MODES: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
const TODAY = Date.parse('2026-11-21T12:00:00Z');
const AT = '/device/identity';
const today = (): number => TODAY;

const clock = new ManualClock();
let folder: string;
let fleet: Fleet;
let desk: EnrolmentDesk;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-identity-crash-'));
  await FleetAuthority.create(nodeFiles, folder, TODAY);
  fleet = await Fleet.open(nodeFiles, folder, today);
  desk = new EnrolmentDesk(fleet, new Revocations(fleet.authority.fleet, fleet.authority.anchors), clock, today);
});
afterAll(async () => {
  fleet.close();
  await rm(folder, { recursive: true });
});

/** Nobody who asks once a minute is sent away. */
const patiently = (): void => { clock.advance(60_000); };

/** Asks for an identity as `shoal enroll` does. */
async function enrol(files: CrashFiles, token: string, mark: (label: string) => void = () => undefined): Promise<Credentials> {
  patiently();
  const { request, key } = await Credentials.enrolment(files, AT, parseToken(token));
  mark('asked');
  const made = await Credentials.enrolled(files, AT, await desk.enrol(request, '10.0.0.1'), key, 'https://origin', today);
  await made.settled();
  return made;
}

async function renew(credentials: Credentials): Promise<void> {
  patiently();
  const { request, key } = await credentials.renewal();
  await credentials.renewed(await desk.renew(request, '10.0.0.1'), key);
  await credentials.settled();
}

const serialOf = ({ client }: Credentials): string => new X509Certificate(client.cert).serialNumber;

describe.each(['agent', 'operator'] as const)('the identity of an %s', (role) => {
  it('is whole after a power cut anywhere in enrolment and renewals, and the device stays the same', async () => {
    // Good for one device: whoever lost his key over a power cut would need another token.
    const { text } = fleet.newToken({ role, site: 'hall-7', products: ['os'], note: '', uses: 1, lifeMs: 3_600_000 });
    const files = new CrashFiles();
    await makeDirectories(files, '/device');
    const start = files.points;
    const credentials = await enrol(files, text, (label) => { files.mark(label); });
    const { device } = credentials.holder;
    const serials = [serialOf(credentials)];
    files.mark('1');
    for (const label of ['2', '3']) {
      await renew(credentials);
      serials.push(serialOf(credentials));
      files.mark(label);
    }
    let cuts = 0;
    for (let point = start; point <= files.points; point++) {
      for (const mode of MODES) {
        const where = `${files.describe(point)}, ${mode}, seed ${String(point)}`;
        const medium = files.crash(point, { mode, seed: point });
        const promised = files.marksBefore(point);
        const sure = Number(promised.at(-1));
        const opened = await Credentials.open(medium, AT, today).catch((error: unknown) => error as { readonly code: string });
        if (opened instanceof Credentials) {
          // The newest that was promised, or one that had come and was not yet.
          expect(serials.indexOf(serialOf(opened)) + 1, where).toBeGreaterThanOrEqual(Number.isNaN(sure) ? 1 : sure);
          expect(new X509Certificate(opened.client.cert).checkPrivateKey(createPrivateKey(opened.client.key)), where).toBe(true);
        } else {
          expect([sure > 0, opened.code], where).toEqual([false, 'NOT_ENROLLED']);
        }
        // Whoever asked, asks again with the same key, and is given the same identity by the same token.
        const again = opened instanceof Credentials ? opened : promised.includes('asked') ? await enrol(medium, text) : undefined;
        if (again !== undefined && (point % 8 === 0 || !(opened instanceof Credentials))) {
          expect(again.holder.device, where).toBe(device);
          await renew(again);
          expect((await Credentials.open(medium, AT, today)).holder.device, where).toBe(device);
        }
        cuts++;
      }
    }
    expect(cuts).toBeGreaterThan(100);
  });
});

it('an identity whose key is gone, or another one, is not one', async () => {
  const { text } = fleet.newToken({ role: 'agent', site: 'hall-7', products: ['os'], note: '', uses: 2, lifeMs: 3_600_000 });
  const [files, others] = [new CrashFiles(), new CrashFiles()];
  for (const each of [files, others]) {
    await makeDirectories(each, '/device');
    await enrol(each, text);
  }
  const other = await others.open(join(AT, 'identity.key.pem'), 'read');
  const bytes = new Uint8Array(await other.size());
  await other.read(bytes, 0);
  const key = await files.open(join(AT, 'identity.key.pem'), 'replace');
  await key.write(bytes, 0);
  await expect(Credentials.open(files, AT, today)).rejects.toMatchObject({ code: 'BAD_IDENTITY' });
  await files.remove(join(AT, 'identity.key.pem'));
  await expect(Credentials.open(files, AT, today)).rejects.toMatchObject({ code: 'BAD_IDENTITY' });
  expect(await files.stat(join(AT, 'identity.key.pem'))).toBeUndefined();
});
