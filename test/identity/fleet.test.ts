import { X509Certificate, createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CERTIFICATE_LIFE_MS, ENROL_REFUSED_MAX, REVOCATIONS_MAX, REVOCATIONS_MAX_BYTES, REVOCATION_KEPT_MS } from '../../src/core/limits.ts';
import { FleetAuthority, fleetPaths } from '../../src/identity/authority.ts';
import { certificatesIn, leadsTo, validAt } from '../../src/identity/certificates.ts';
import { EnrolmentDesk } from '../../src/identity/desk.ts';
import { Fleet } from '../../src/identity/fleet.ts';
import { holderOf } from '../../src/identity/holder.ts';
import { deviceIdOf, fileIdentityKey, newKeyPair, spkiOf, statement } from '../../src/identity/key.ts';
import type { IdentityKey } from '../../src/identity/key.ts';
import type { EnrolRequest, RenewRequest } from '../../src/identity/messages.ts';
import { parseGrant } from '../../src/identity/messages.ts';
import { OriginMember } from '../../src/identity/origin-member.ts';
import { lifeOf } from '../../src/identity/tls.ts';
import { Revocations, decodeRevocations, fitting } from '../../src/identity/revocations.ts';
import { parseToken } from '../../src/identity/token.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { ManualClock } from '../support/manual-clock.ts';

const TODAY = Date.parse('2026-11-21T12:00:00Z');
let folder: string;
let made = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-fleet-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function newFleet(now: () => number = () => TODAY): Promise<{ readonly fleet: Fleet; readonly directory: string }> {
  const directory = join(folder, `fleet-${String(++made)}`);
  await FleetAuthority.create(nodeFiles, directory, now());
  return { fleet: await Fleet.open(nodeFiles, directory, now), directory };
}

async function enrolRequest(token: string, identity: IdentityKey, key = newKeyPair()): Promise<EnrolRequest> {
  const { id, secret } = parseToken(token);
  const bytes = spkiOf(key.publicKey);
  return { token: `${id}.${secret}`, identity: Buffer.from(identity.publicKey).toString('base64'), key: Buffer.from(bytes).toString('base64'), proof: Buffer.from(await identity.sign(statement('enroll', id, bytes))).toString('base64') };
}

async function renewRequest(fleet: string, identity: IdentityKey): Promise<RenewRequest> {
  const bytes = spkiOf(newKeyPair().publicKey);
  return { identity: Buffer.from(identity.publicKey).toString('base64'), key: Buffer.from(bytes).toString('base64'), proof: Buffer.from(await identity.sign(statement('renew', fleet, bytes))).toString('base64') };
}

const identityKey = (): Promise<IdentityKey> => fileIdentityKey(nodeFiles, join(folder, `key-${String(++made)}.pem`));
const deskOf = (fleet: Fleet, clock = new ManualClock()): EnrolmentDesk => new EnrolmentDesk(fleet, new Revocations(fleet.authority.fleet, fleet.authority.anchors), clock, () => TODAY);
const SCOPE = { role: 'agent', site: 'hall-7', products: ['os', 'maps'], note: '' } as const;

describe('the authority of a fleet', () => {
  it('issues one certificate to ask with and one to be asked with, which says nothing of what the device is for', async () => {
    const { fleet, directory } = await newFleet();
    const { authority } = fleet;
    const { publicKey } = newKeyPair();
    const holder = { ...SCOPE, fleet: authority.fleet, device: 'd'.repeat(32), products: ['os', 'maps'] };
    const { client, server } = await authority.issue(holder, publicKey, TODAY, ['origin.example', '10.0.0.1']);
    const [asking, asked] = [new X509Certificate(client), new X509Certificate(server)];
    expect(holderOf(asking.subjectAltName)).toEqual({ fleet: holder.fleet, role: 'agent', device: holder.device, site: 'hall-7', products: ['os', 'maps'] });
    expect(asked.toString() + String(asked.subjectAltName)).not.toMatch(/hall-7|maps/);
    expect(server).not.toContain(Buffer.from('maps').toString('base64'));
    expect(asked.checkHost('origin.example')).toBe('origin.example');
    expect(asked.checkIP('10.0.0.1')).toBe('10.0.0.1');
    for (const certificate of [asking, asked]) {
      expect(leadsTo(authority.anchors, certificate, [])).toBe(true);
      expect([validAt(certificate, TODAY), validAt(certificate, TODAY + CERTIFICATE_LIFE_MS), certificate.ca]).toEqual([true, false, false]);
    }
    expect([asking.keyUsage, asked.keyUsage]).toEqual([['1.3.6.1.5.5.7.3.2'], ['1.3.6.1.5.5.7.3.1']]);
    await expect(FleetAuthority.create(nodeFiles, directory, TODAY)).rejects.toMatchObject({ code: 'FLEET_EXISTS' });
    await expect(FleetAuthority.open(nodeFiles, folder)).rejects.toMatchObject({ code: 'NO_FLEET' });
    expect((await nodeFiles.stat(fleetPaths(directory).key))?.kind).toBe('file');
    fleet.close();
  });

  it("can be the operator's own, below a root of theirs", async () => {
    await import('reflect-metadata/lite');
    const { X509CertificateGenerator, BasicConstraintsExtension } = await import('@peculiar/x509');
    const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-256' };
    const pair = (): Promise<webcrypto.CryptoKeyPair> => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const [root, issuer] = [await pair(), await pair()];
    const valid = { notBefore: new Date(TODAY - 1000), notAfter: new Date(TODAY + 86_400_000), signingAlgorithm: algorithm };
    const top = await X509CertificateGenerator.createSelfSigned({ ...valid, serialNumber: '01', name: 'CN=Acme Root, O=Acme', keys: root, extensions: [new BasicConstraintsExtension(true, 1, true)] });
    const below = await X509CertificateGenerator.create({ ...valid, serialNumber: '02', subject: 'CN=Acme Devices', issuer: top.subjectName.toJSON(), publicKey: issuer.publicKey, signingKey: root.privateKey, extensions: [new BasicConstraintsExtension(true, 0, true)] });
    const certificates = `${below.toString('pem')}\n${top.toString('pem')}\n`;
    const keyOf = async (key: webcrypto.CryptoKey): Promise<string> => createPrivateKey({ key: Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)), format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }) as string;
    const at = join(folder, 'own');
    await expect(FleetAuthority.create(nodeFiles, at, TODAY, { certificates, key: await keyOf(root.privateKey) })).rejects.toMatchObject({ code: 'BAD_AUTHORITY' });
    await expect(FleetAuthority.create(nodeFiles, at, TODAY, { certificates: below.toString('pem'), key: await keyOf(issuer.privateKey) })).rejects.toMatchObject({ code: 'BAD_AUTHORITY' });
    const authority = await FleetAuthority.create(nodeFiles, at, TODAY, { certificates, key: await keyOf(issuer.privateKey) });
    expect(authority.anchors.map(({ subject }) => subject)).toEqual(['CN=Acme Root\nO=Acme']);
    const { client } = await authority.issue({ ...SCOPE, fleet: authority.fleet, device: 'e'.repeat(32) }, newKeyPair().publicKey, TODAY);
    const [leaf, ...between] = certificatesIn(client);
    expect(between).toHaveLength(1);
    expect(leaf !== undefined && leadsTo(authority.anchors, leaf, between) && !leadsTo(authority.anchors, leaf, [])).toBe(true);
    // Never beyond the issuer's own end.
    expect(Date.parse(leaf?.validTo ?? '')).toBe(TODAY + 86_400_000);
    expect(decodeRevocations(authority.revocations([], 5, 3), authority.fleet, authority.anchors)).toEqual({ fleet: authority.fleet, number: 6, revoked: [] });
  });
});

describe('an origin', () => {
  it('has a certificate that is good now, whatever became of its clock since it began', async () => {
    let now = TODAY;
    const { fleet } = await newFleet(() => now);
    const member = await OriginMember.open(fleet, ['10.0.0.1'], () => now);
    let told = 0;
    member.onRenewed(() => { told++; });
    await member.renewIfDue();
    expect(told).toBe(0);
    // It slept for months; then its clock was set back, for it had begun with one that was ahead.
    for (const jump of [90 * 86_400_000, -60 * 86_400_000, CERTIFICATE_LIFE_MS * 0.7]) {
      now += jump;
      await member.renewIfDue();
      const { from, to } = lifeOf(member.server.cert);
      expect([from < now, to > now + CERTIFICATE_LIFE_MS / 2]).toEqual([true, true]);
    }
    expect(told).toBe(3);
    await member.renewIfDue();
    expect(told).toBe(3);
    fleet.close();
  });
});

describe('enrolment', () => {
  it('gives certificates for a token, once for a one-time token, and again to the same key whose answer was lost', async () => {
    const { fleet, directory } = await newFleet();
    const { text } = fleet.newToken({ ...SCOPE, uses: 1, lifeMs: 3_600_000 });
    const [desk, one, other] = [deskOf(fleet), await identityKey(), await identityKey()];
    const grant = await desk.enrol(await enrolRequest(text, one), '10.0.0.1');
    expect(parseGrant(Buffer.from(JSON.stringify(grant)))).toEqual(grant);
    expect(grant).toMatchObject({ device: deviceIdOf(one.publicKey), site: 'hall-7', products: ['os', 'maps'], role: 'agent' });
    expect(await desk.enrol(await enrolRequest(text, one), '10.0.0.1')).toMatchObject({ device: grant.device });
    await expect(desk.enrol(await enrolRequest(text, other), '10.0.0.2')).rejects.toMatchObject({ code: 'REFUSED', message: 'refused' });
    expect(fleet.registry.audit().map(({ event, from }) => [event, from])).toEqual([['token', ''], ['enrolled', '10.0.0.1'], ['enrolled', '10.0.0.1'], ['refused', '10.0.0.2']]);
    // At rest there is no secret, and no key that opens anything but the CA's own.
    expect((await readFile(fleetPaths(directory).registry)).includes(parseToken(text).secret)).toBe(false);
    fleet.close();
  });

  it('refuses everything else with the same words, and notes why', async () => {
    let now = TODAY;
    const { fleet } = await newFleet(() => now);
    const desk = new EnrolmentDesk(fleet, new Revocations(fleet.authority.fleet, fleet.authority.anchors), new ManualClock(), () => now);
    const { text, id } = fleet.newToken({ ...SCOPE, uses: 5, lifeMs: 3_600_000 });
    const key = await identityKey();
    const good = await enrolRequest(text, key);
    const refused = async (request: EnrolRequest): Promise<void> => {
      await expect(desk.enrol(request, '10.0.0.9')).rejects.toMatchObject({ code: 'REFUSED', message: 'refused' });
    };
    await refused({ ...good, token: `${id}.${'A'.repeat(32)}` });
    await refused({ ...good, token: `AAAAAAAAAAA.${parseToken(text).secret}` });
    await refused({ ...good, proof: (await enrolRequest(text, await identityKey())).proof });
    await refused({ ...good, key: Buffer.from('no key').toString('base64') });
    await refused({ ...good, identity: '' });
    expect(() => desk.anchors('AAAAAAAAAAA', '10.0.0.9')).toThrow('refused');
    expect(desk.anchors(id, '10.0.0.9')).toBe(fleet.authority.ca);
    now += 3_600_000;
    await refused(good);
    now -= 3_600_000;
    expect(fleet.registry.revokeToken(id, now)).toBe(true);
    await refused(good);
    expect(fleet.registry.audit().at(-1)).toMatchObject({ event: 'refused', about: deviceIdOf(key.publicKey), detail: `token ${id}: not a token of this fleet` });
    fleet.close();
  });

  it('lets one address guess a few times, whatever the others do', async () => {
    const { fleet } = await newFleet();
    const clock = new ManualClock();
    const desk = deskOf(fleet, clock);
    const { text } = fleet.newToken({ ...SCOPE, uses: 5, lifeMs: 3_600_000 });
    const good = await enrolRequest(text, await identityKey());
    for (let guess = 0; guess < ENROL_REFUSED_MAX; guess++) await expect(desk.enrol({ ...good, token: `AAAAAAAAAAA.${randomBytes(24).toString('base64url')}` }, '10.0.0.9')).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(desk.enrol(good, '10.0.0.9')).rejects.toMatchObject({ code: 'BUSY', retry: 'again' });
    expect(await desk.enrol(good, '10.0.0.8')).toBeDefined();
    clock.advance(60_000);
    expect(await desk.enrol(good, '10.0.0.9')).toBeDefined();
    fleet.close();
  });

  it('writes nothing for whoever asks again and again with a token that still works for it', async () => {
    let now = TODAY;
    const { fleet } = await newFleet(() => now);
    const clock = new ManualClock();
    const desk = new EnrolmentDesk(fleet, new Revocations(fleet.authority.fleet, fleet.authority.anchors), clock, () => now);
    const { text } = fleet.newToken({ ...SCOPE, uses: 1, lifeMs: 3_600_000 });
    const key = await identityKey();
    const [enrol, renew] = [await enrolRequest(text, key), await renewRequest(fleet.authority.fleet, key)];
    let granted = 0;
    for (; granted < 100; granted++) if ((await desk.enrol(enrol, '10.0.0.1').catch(() => undefined)) === undefined) break;
    const before = [fleet.registry.audit().length, fleet.registry.devices()];
    now += 1_000;
    for (let again = 0; again < 20; again++) {
      await expect(desk.enrol(enrol, '10.0.0.1')).rejects.toMatchObject({ code: 'BUSY' });
      await expect(desk.renew(renew, '10.0.0.1')).rejects.toMatchObject({ code: 'BUSY' });
    }
    expect([fleet.registry.audit().length, fleet.registry.devices()]).toEqual(before);
    expect(before[0]).toBe(granted + 1);
    clock.advance(60_000);
    expect(await desk.renew(renew, '10.0.0.1')).toBeDefined();
    fleet.close();
  });

  it('gives a one-time token to one of many who come with it at the same moment', async () => {
    const { fleet, directory } = await newFleet();
    // Two processes may answer: what counts is the file.
    const second = await Fleet.open(nodeFiles, directory, () => TODAY);
    const { text } = fleet.newToken({ ...SCOPE, uses: 1, lifeMs: 3_600_000 });
    const desks = [deskOf(fleet), deskOf(second)];
    const requests = await Promise.all(Array.from({ length: 12 }, async () => enrolRequest(text, await identityKey())));
    const outcomes = await Promise.allSettled(requests.map(async (request, at) => desks[at % 2]?.enrol(request, `10.0.0.${String(at)}`)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(fleet.registry.devices()).toHaveLength(1);
    expect(fleet.registry.tokens()[0]?.uses).toBe(0);
    second.close();
    fleet.close();
  });

  it('renews for the same key, for what the registry says, and not for those who are revoked', async () => {
    const { fleet } = await newFleet();
    const desk = deskOf(fleet);
    const { text } = fleet.newToken({ ...SCOPE, uses: 5, lifeMs: 3_600_000 });
    const [known, unknown] = [await identityKey(), await identityKey()];
    const { device } = await desk.enrol(await enrolRequest(text, known), '10.0.0.1');
    expect(await desk.renew(await renewRequest(fleet.authority.fleet, known), '10.0.0.1')).toMatchObject({ device, site: 'hall-7' });
    for (const request of [await renewRequest(fleet.authority.fleet, unknown), await renewRequest('0'.repeat(16), known)]) await expect(desk.renew(request, '10.0.0.1')).rejects.toMatchObject({ code: 'REFUSED' });
    expect(await fleet.revoke([device], 'stolen')).toMatchObject({ changed: [device] });
    await expect(desk.renew(await renewRequest(fleet.authority.fleet, known), '10.0.0.1')).rejects.toMatchObject({ code: 'REFUSED' });
    // Not with a good token either: a key that was revoked stays so.
    await expect(desk.enrol(await enrolRequest(text, known), '10.0.0.1')).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(fleet.revoke(['f'.repeat(32)], '')).rejects.toMatchObject({ code: 'NO_SUCH_DEVICE' });
    expect((await fleet.revoke([device], '')).changed).toEqual([]);
    fleet.close();
  });
});

describe('the revocation list', () => {
  it('is one that hosts take, however many are out: it names those whose certificates end last', async () => {
    const { fleet } = await newFleet();
    const { authority } = fleet;
    const until = (at: number): number => TODAY + REVOCATION_KEPT_MS + (at - 50) * 60_000;
    const revoked = Array.from({ length: REVOCATIONS_MAX + 100 }, (_, at) => ({ device: at.toString(16).padStart(32, '0'), until: until(at) }));
    const { listed, missed } = fitting(revoked, TODAY);
    const bytes = authority.revocations(listed, 0, TODAY);
    expect(bytes.byteLength).toBeLessThan(REVOCATIONS_MAX_BYTES);
    const list = new Revocations(authority.fleet, authority.anchors);
    expect(list.adopt(bytes)).toBe(true);
    // A hundred are not on it; the certificates of 51 of these have ended.
    expect(revoked.filter(({ device }) => !list.has(device)).map(({ device }) => device)).toEqual(revoked.slice(0, 100).map(({ device }) => device));
    expect(missed.map(({ device }) => device).sort()).toEqual(revoked.slice(51, 100).map(({ device }) => device));
    expect(fitting(revoked.slice(0, 9), TODAY)).toEqual({ listed: revoked.slice(0, 9), missed: [] });
    fleet.close();
  });

  it('goes forward only, is believed only from the fleet, and forgets what cannot matter any more', async () => {
    let now = TODAY;
    const { fleet } = await newFleet(() => now);
    const { fleet: other } = await newFleet();
    const { authority } = fleet;
    const { text } = fleet.newToken({ ...SCOPE, uses: 5, lifeMs: 3_600_000 });
    const { device } = await deskOf(fleet).enrol(await enrolRequest(text, await identityKey()), '10.0.0.1');
    await fleet.signRevocations();
    const empty = (await fleet.revocations()) ?? new Uint8Array(0);
    await fleet.revoke([device], 'lost');
    const full = (await fleet.revocations()) ?? new Uint8Array(0);
    const list = new Revocations(authority.fleet, authority.anchors);
    let heard = 0;
    list.onChange(() => heard++);
    expect([list.has(device), list.adopt(full), list.has(device), list.adopt(empty), list.adopt(full), list.has(device), heard]).toEqual([false, true, true, false, false, true, 1]);
    expect(list.bytes).toEqual(full);
    const bent = Buffer.from(full);
    for (const at of [10, bent.indexOf(device), bent.length - 20]) {
      const copy = Buffer.from(bent);
      copy[at] = (copy[at] ?? 0) ^ 1;
      expect(() => new Revocations(authority.fleet, authority.anchors).adopt(copy)).toThrow(expect.objectContaining({ code: 'BAD_REVOCATIONS' }));
    }
    expect(() => new Revocations(other.authority.fleet, other.authority.anchors).adopt(full)).toThrow(expect.objectContaining({ code: 'BAD_REVOCATIONS' }));
    expect(() => new Revocations(other.authority.fleet, authority.anchors).adopt(full)).toThrow(expect.objectContaining({ code: 'BAD_REVOCATIONS' }));
    now += CERTIFICATE_LIFE_MS + REVOCATION_KEPT_MS;
    await fleet.signRevocations();
    expect(decodeRevocations((await fleet.revocations()) ?? new Uint8Array(0), authority.fleet, authority.anchors).revoked).toEqual([]);
    fleet.close();
    other.close();
  });
});
