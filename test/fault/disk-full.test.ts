import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rebuilt } from '../support/delta-pair.ts';
import { PATIENT, Processes } from '../support/processes.ts';
import type { Ended, Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';
import { needsSmallDisk, smallDisk } from '../support/small-disk.ts';
import type { SmallDisk } from '../support/small-disk.ts';

const MiB = 1024 * 1024;
/** Some 92 MiB of it can be used. A store leaves the last 64 MiB of a disk alone. */
const DISK = 112 * MiB;
const RESERVE = 64 * MiB;
const content = randomBytes(9 * MiB);
const digest = createHash('sha256').update(content).digest('hex');

describe.skipIf(needsSmallDisk())('on a full disk', () => {
  const processes = new Processes();
  const { folder } = processes;
  const home = join(folder, 'home');
  const disks: SmallDisk[] = [];
  let origin: Server;
  let serial = 0;

  beforeAll(async () => {
    await processes.must('init', '--home', home);
    await writeFile(join(folder, 'image'), content);
    await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1');
    origin = await processes.serve(['origin', '--home', home]);
  });
  afterAll(async () => {
    await processes.close();
    for (const disk of disks) disk.close();
  });

  const disk = (): SmallDisk => {
    const made = smallDisk(DISK);
    disks.push(made);
    return made;
  };
  // Patient: what a gateway does not give because the machine is slow is not what this is about.
  const fetch = (output: string, state: string, ...args: readonly string[]): Promise<Ended> =>
    processes.run(['fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', state, '-o', output, '--json', ...args], undefined, { imports: [PATIENT] });
  const isWhole = async (path: string): Promise<void> => {
    expect(createHash('sha256').update(await readFile(path)).digest('hex')).toBe(digest);
  };

  it('a fetch says which file found no room, keeps the version before, and goes on from what arrived', async () => {
    const small = disk();
    const output = join(small.path, 'image');
    await writeFile(output, 'the version before');
    small.leave(5 * MiB);
    const full = await fetch(output, join(folder, 'state-1'));
    expect([full.code, full.errors]).toEqual([1, expect.stringContaining('Free some space')]);
    expect(full.last).toMatchObject({ error: 'DISK_FULL', ids: { path: expect.stringContaining(small.path) } });
    expect(await readFile(output, 'utf8')).toBe('the version before');
    small.empty();
    const again = await fetch(output, join(folder, 'state-1'));
    expect([again.code, again.errors]).toEqual([0, expect.any(String)]);
    await isWhole(output);
    const { local, origin: received } = again.last['ledger'] as { readonly local: number; readonly origin: number };
    expect(local).toBeGreaterThan(MiB);
    expect(received).toBeLessThan(content.byteLength - local + 0.1 * MiB);
  });

  it('a fetch by a delta as well: what it rebuilt is not rebuilt again', async () => {
    const small = disk();
    // Three segments, of 8 MiB at most.
    const before = randomBytes(20 * MiB);
    const after = rebuilt(before, 5_000);
    const image = join(folder, 'other-image');
    for (const [version, bytes] of [['1', before], ['2', after]] as const) {
      await writeFile(image, bytes);
      await processes.must('publish', image, '--name', 'other', '--version', version, '--home', home, '--level', '1');
    }
    const base = join(folder, 'base');
    await writeFile(base, before);
    const output = join(small.path, 'other');
    await writeFile(output, 'the version before');
    const update = (): Promise<Ended> => processes.run(['fetch', 'other', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'state-3'), '-o', output, '--base', base, '--json']);
    small.leave(14 * MiB);
    const full = await update();
    expect([full.code, full.last['error'], full.errors]).toEqual([1, 'DISK_FULL', expect.stringContaining(small.path)]);
    expect(await readFile(output, 'utf8')).toBe('the version before');
    small.empty();
    const again = await update();
    expect([again.code, again.errors]).toEqual([0, expect.any(String)]);
    expect(after.equals(await readFile(output))).toBe(true);
    const { local, origin: received, written } = again.last['ledger'] as { readonly local: number; readonly origin: number; readonly written: number };
    expect([local > 4 * MiB, local + written, received < MiB]).toEqual([true, after.byteLength, true]);
  });

  it('a fetch whose state finds no room says so and touches nothing', async () => {
    const small = disk();
    small.leave(0);
    const output = join(folder, 'kept');
    await writeFile(output, 'the version before');
    const full = await fetch(output, join(small.path, 'state'));
    expect([full.code, full.last['error'], full.errors]).toEqual([1, 'DISK_FULL', expect.stringContaining(small.path)]);
    expect(await readFile(output, 'utf8')).toBe('the version before');
  });

  it('a gateway goes on: it serves what it can keep, and devices get the rest elsewhere', async () => {
    const small = disk();
    small.leave(RESERVE + 5 * MiB);
    const gateway = await processes.serve(['gateway', '--origin', origin.url, '--cache', join(small.path, 'cache')]);
    for (let device = 0; device < 2; device++) {
      const output = join(folder, `device-${String(serial++)}`);
      const fetched = await fetch(output, `${output}-state`, '--gateway', gateway.url);
      expect([fetched.code, fetched.errors]).toEqual([0, expect.not.stringContaining('wrong bytes')]);
      await isWhole(output);
    }
    // With room again it keeps what it is asked for.
    small.empty();
    for (const expected of [expect.any(Number), 0]) {
      const output = join(folder, `device-${String(serial++)}`);
      const fetched = await fetch(output, `${output}-state`, '--gateway', gateway.url);
      expect([fetched.code, fetched.last['ledger']]).toEqual([0, expect.objectContaining({ origin: expected })]);
      await isWhole(output);
    }
    const ended = await gateway.stop();
    expect(ended.code).toBe(0);
    expect(ended.peak).toBeLessThan(300_000_000);
  });

  it('a gateway whose disk has no room for a byte still brings trust files', async () => {
    const small = disk();
    mkdirSync(join(small.path, 'cache'));
    const gateway = await processes.serve(['gateway', '--origin', origin.url, '--cache', join(small.path, 'cache')]);
    small.leave(0);
    const answer = await globalThis.fetch(`${gateway.url}/v1/tuf/metadata/timestamp.json`);
    expect([answer.status, ((await answer.json()) as { readonly signed: { readonly _type: string } }).signed._type]).toEqual([200, 'timestamp']);
    const output = join(folder, `device-${String(serial++)}`);
    expect((await fetch(output, `${output}-state`, '--gateway', gateway.url)).code).toBe(0);
    await isWhole(output);
    await gateway.stop();
  });

  it('a publisher says so, and what was published before stays to be had', async () => {
    const small = disk();
    const own = join(small.path, 'home');
    const image = join(folder, 'small-image');
    const before = randomBytes(2 * MiB);
    await processes.must('init', '--home', own);
    await writeFile(image, before);
    await processes.must('publish', image, '--name', 'os', '--version', '1', '--home', own, '--level', '1');
    small.leave(RESERVE + 4 * MiB);
    const publish = (): Promise<Ended> => processes.run(['publish', join(folder, 'image'), '--name', 'os', '--version', '2', '--home', own, '--level', '1', '--json']);
    const full = await publish();
    expect([full.code, full.last['error'], full.errors]).toEqual([1, 'DISK_FULL', expect.stringContaining(small.path)]);
    const server = await processes.serve(['origin', '--home', own]);
    const device = async (name: string): Promise<Buffer> => {
      const output = join(folder, name);
      expect((await processes.run(['fetch', 'os', '--origin', server.url, '--trust', join(own, 'trust', 'root.json'), '--state', join(folder, 'publisher-state'), '-o', output])).code).toBe(0);
      return readFile(output);
    };
    expect(before.equals(await device('before'))).toBe(true);
    small.empty();
    const again = await publish();
    expect([again.code, again.errors]).toEqual([0, expect.any(String)]);
    expect(content.equals(await device('after'))).toBe(true);
    await server.stop();
  });
});
