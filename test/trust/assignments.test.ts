import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Updater } from 'tuf-js';
import { expect, it } from 'vitest';
import { encodeMetadata, unsigned } from '../../src/trust/metadata.ts';
import { ASSIGNMENTS_ROLE, hashedPath } from '../../src/trust/roles.ts';
import { buildDelegated, delegationsOf, entryOf, rootRole, signFor } from '../../src/trust/repository/build.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { readConfig } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { loadKeys } from '../../src/trust/repository/keys.ts';
import { commitNext, renewOnline } from '../../src/trust/repository/online.ts';
import { loadState } from '../../src/trust/repository/state.ts';
import { httpFetcher, serveTuf } from '../support/tuf-server.ts';
import { Calendar, DAY, device, release, testHome } from '../support/trust-homes.ts';

// Assignments are not built yet. What must hold already: a repository may begin to sign them, under the name and paths that are
// reserved, and the devices of today go on: they see the role in snapshot and delegations, and have no use for it.
it('leaves room for signed assignments: devices of today follow a repository that has them', async () => {
  const scratch = await mkdtemp(join(tmpdir(), 'shoal-assignments-'));
  const calendar = new Calendar();
  const home = testHome(join(scratch, 'home'), calendar);
  await initHome(home);
  const server = await serveTuf(new RepositoryFiles(home));
  try {
    await release(home, 'app', '1.0');
    const before = await device(join(scratch, 'before'), { trustedRoot: await readFile(home.paths.trustRoot), fetcher: httpFetcher(server.url), now: calendar.now });
    expect((await before.release('app')).manifest.version).toBe('1.0');

    const state = await loadState(home);
    const keys = await loadKeys(home.files, home.paths.offlineKeys);
    const { signed } = state.targets.metadata;
    const json = signed.toJSON() as unknown as { readonly version: number; readonly delegations: { readonly keys: object; readonly roles: readonly { readonly name: string; readonly keyids: readonly string[] }[] } };
    // Signed by the key of the product, for want of one of its own.
    const [some] = json.delegations.roles.filter(({ name }) => name === 'product-app');
    const roles = [...json.delegations.roles, { ...some, name: ASSIGNMENTS_ROLE, threshold: 1, terminating: true, paths: ['assignments/*'] }];
    const targets = unsigned('targets', { ...json, version: signed.version + 1, delegations: { ...json.delegations, roles } } as never);
    signFor(targets, [rootRole(state.root.metadata, 'targets')], keys);
    const assignment = Buffer.from('{"format":1,"group":"hall-7","product":"app","sequence":1}');
    const assignments = buildDelegated(ASSIGNMENTS_ROLE, 1, '2026-06-01T00:00:00Z', new Map([['assignments/hall-7.json', entryOf(assignment)]]));
    signFor(assignments, [...delegationsOf(state.targets.metadata).values()], keys);
    const path = hashedPath('assignments/hall-7.json', entryOf(assignment).sha256);
    await mkdir(join(home.paths.targets, 'assignments'), { recursive: true });
    await writeFile(join(home.paths.targets, path), assignment);
    await commitNext(home, state, await readConfig(home), { targets: { metadata: targets, bytes: encodeMetadata(targets) }, delegated: new Map([[ASSIGNMENTS_ROLE, { metadata: assignments, bytes: encodeMetadata(assignments) }]]) });

    // Devices that were there before, new ones, further releases, signatures renewed meanwhile.
    expect((await before.release('app')).manifest.version).toBe('1.0');
    await release(home, 'app', '2.0');
    expect((await before.release('app')).manifest.version).toBe('2.0');
    calendar.ms += 4 * DAY;
    await renewOnline(home);
    const fresh = await device(join(scratch, 'fresh'), { trustedRoot: await readFile(home.paths.trustRoot), fetcher: httpFetcher(server.url), now: calendar.now });
    expect((await fresh.release('app')).manifest.version).toBe('2.0');
    expect((await loadState(home)).delegated.has(ASSIGNMENTS_ROLE)).toBe(true);
    // The role is in the snapshot and served like any other: a device that knows assignments can use it.
    expect(server.requests.some((each) => each.includes('assignments'))).toBe(false);
    const folder = join(scratch, 'plain');
    await mkdir(folder);
    await writeFile(join(folder, 'root.json'), await readFile(home.paths.trustRoot));
    const plain = new Updater({ metadataDir: folder, metadataBaseUrl: `${server.url}/metadata`, targetBaseUrl: `${server.url}/targets` });
    Reflect.set(Reflect.get(plain, 'trustedSet') as object, 'referenceTime', calendar.now());
    await plain.refresh();
    expect((await plain.getTargetInfo('assignments/hall-7.json'))?.length).toBe(assignment.byteLength);
  } finally {
    await server.close();
    await rm(scratch, { recursive: true });
  }
});
