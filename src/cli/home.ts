import type { Command } from 'commander';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ShoalError, messageOf } from '../core/errors.ts';
import { parseName } from '../core/names.ts';
import type { OwnAuthority } from '../identity/authority.ts';
import { unreadable } from '../store/files.ts';
import { DEFAULT_HOME, wholeNumber } from './values.ts';
import { keepHeapSmall } from '../kernel/heap.ts';
import { DELTA_HELP, deltaConfigOf, deltasAfter, firstOf, withDeltaOptions, withDeltasFirst, sayFailed } from './deltas.ts';
import type { DeltaOptions } from './deltas.ts';
import { torrentAfter } from './torrent.ts';
import { emit, formatBytes, interruptible, progress, say } from './output.ts';
import { sayMissing } from './settle.ts';

export function addInit(program: Command): void {
  program
    .command('init')
    .summary('make the keys and the trust root of a new fleet')
    .description('Make the keys, the trust root for devices and the configuration of a new fleet.')
    .option('--home <dir>', 'where', DEFAULT_HOME)
    .option('--offline <dir>', 'put the offline keys into a home of their own, to be kept on another machine')
    .option('--namespace <name>', 'namespace of all content')
    .option('--fleet-ca <file>', 'your own CA for device certificates, PEM: the issuing certificate first, the root last')
    .option('--fleet-key <file>', 'private key of the issuing certificate, PKCS#8 PEM, P-256 or P-384')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExamples:\n  shoal init --home fleet\n  shoal init --home server --offline /media/stick/keys\n  shoal init --home fleet --fleet-ca devices-ca.pem --fleet-key devices-ca.key')
    .action(async (options: { home: string; offline?: string; namespace?: string; fleetCa?: string; fleetKey?: string; json?: boolean }) => {
      const own = await ownAuthority(options.fleetCa, options.fleetKey);
      const { initHome } = await import('../trust/repository/init.ts');
      const { trustHome } = await import('../trust/repository/home.ts');
      const made = await initHome(trustHome(options.home), {
        ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
        ...(options.offline === undefined ? {} : { offline: trustHome(options.offline) }),
      });
      const { makeFleet } = await import('../roles/fleet.ts');
      const fleet = await makeFleet(trustHome(options.home), own);
      say(`Home made in ${made.home}. Devices need ${made.trustRoot}.`);
      say(`Keys that authorise software are in ${made.offlineKeys}: keep a copy where no network reaches.`);
      say(`Certificates of devices come from ${fleet.ca}: next, shoal token --help.`);
      if (options.json === true) emit({ ok: true, ...made, fleet: fleet.fleet });
    });
}

async function ownAuthority(ca: string | undefined, key: string | undefined): Promise<OwnAuthority | undefined> {
  if (ca === undefined && key === undefined) return undefined;
  if (ca === undefined || key === undefined) throw new ShoalError('BAD_USAGE', '--fleet-ca and --fleet-key belong together');
  const text = (path: string): Promise<string> => readFile(path, 'utf8').catch((cause: unknown) => { throw unreadable(cause, path, 'the certificate authority'); });
  const own = { certificates: await text(ca), key: await text(key) };
  const { checkAuthority } = await import('../identity/authority.ts');
  try {
    // Before a home is made that would be there without it.
    checkAuthority(own, Date.now());
  } catch (cause) {
    throw new ShoalError('BAD_AUTHORITY', `${ca} with ${key}: ${messageOf(cause)}`, { cause, ids: { path: ca }, hint: 'Give the issuing CA certificate first and the root last, in PEM, and the key of the first, PKCS#8 PEM on P-256 or P-384.' });
  }
  return own;
}

export function addPublish(program: Command): void {
  const command = program
    .command('publish')
    .summary('chunk, store and sign files as the next release')
    .description('Chunk, store and sign one or more files as the next release of a product.')
    .argument('<file...>', 'artifacts; FILE or NAME=FILE')
    .requiredOption('--name <product>', 'product')
    .requiredOption('--version <version>', 'version, for people; order is kept by a sequence number')
    .option('--hardware <id...>', 'exact hardware ids it is for; any when none is named')
    .option('--min-source <sequence>', 'lowest sequence a device must run already', wholeNumber(0))
    .option('--home <dir>', 'home with the offline keys', DEFAULT_HOME)
    .option('--staging <dir>', 'only sign and pack into this directory, for "shoal accept" on the server')
    .option('--level <n>', 'zstd level of what is stored, 1 to 19', wholeNumber(1, 19), 19)
    .option('--torrent', 'hash its pieces too, so that "shoal origin --torrent" has its torrent at once')
    .option('--json', 'one JSON object on standard output');
  withDeltasFirst(withDeltaOptions(command))
    .addHelpText('after', `${DELTA_HELP}\n\nExamples:\n  shoal publish rootfs.img --name gateway-os --version 1.4.0\n  shoal publish rootfs.img --name gateway-os --version 1.5.0 --deltas-from 1.3.0,1.4.0 --delta-memory 4G\n  shoal publish rootfs.img --name os-images --version 1.5.0 --torrent\n  shoal publish image=rootfs.img boot=u-boot.bin --name os --version 2 --staging out`)
    .action(async (paths: string[], options: DeltaOptions & { name: string; version: string; hardware?: string[]; minSource?: number; home: string; staging?: string; level: number; torrent?: boolean; json?: boolean }) => {
      keepHeapSmall();
      const { publishFiles } = await import('../roles/publish.ts');
      const { checkDeltaWish } = await import('../roles/deltas.ts');
      const bar = progress('publishing');
      const deltaBar = progress('deltas');
      const publishing = interruptible('interrupted; nothing was published');
      try {
        const wish = deltaConfigOf(options);
        // A slip in what only comes at the end is told before hours of work.
        if (wish.from !== undefined && options.staging === undefined) await checkDeltaWish(options.home, options.name, wish);
        const artifacts = paths.map((text) => {
          const at = text.indexOf('=');
          return at > 0 ? { name: text.slice(0, at), path: text.slice(at + 1) } : { name: parseName('artifact', basename(text), 'Give it a name of its own: NAME=FILE.'), path: text };
        });
        const { manifest, addedBytes, staging, signatures, complete, published, deltas: early } = await publishFiles({
          home: options.home, product: options.name, version: options.version, artifacts, level: options.level, onProgress: bar.update, signal: publishing.signal,
          ...(options.staging === undefined ? {} : { staging: options.staging }),
          ...firstOf(options, publishing.signal, deltaBar),
          ...(options.hardware === undefined ? {} : { hardware: options.hardware }),
          ...(options.minSource === undefined ? {} : { minimumSource: options.minSource }),
        });
        bar.stop();
        deltaBar.stop();
        const size = manifest.artifacts.reduce((sum, each) => sum + each.size, 0);
        say(`${manifest.product} ${manifest.version} (sequence ${String(manifest.sequence)}): ${formatBytes(size)}, of which ${formatBytes(addedBytes)} were new to the store.`);
        if (published) say('Devices can fetch it now.');
        else if (!complete) sayMissing(staging, signatures);
        else say(`Staged in ${staging}; next: shoal upload ${staging} ORIGIN, or shoal accept ${staging} on the server.`);
        sayFailed(early, manifest.product, manifest.version);
        publishing.end();
        const deltas = options.deltasLater !== true && published ? { deltas: early } : published ? await deltasAfter(options.home, manifest.product, manifest.version, wish) : {};
        const torrent = options.torrent === true && published ? await torrentAfter(options.home, manifest.product, manifest.version) : {};
        if (options.json === true) emit({ ok: true, product: manifest.product, version: manifest.version, sequence: manifest.sequence, artifacts: manifest.artifacts, addedBytes, staging, complete, published, ...deltas, ...torrent });
      } finally {
        bar.stop();
        deltaBar.stop();
        publishing.end();
      }
    });
}

export function addAccept(program: Command): void {
  const command = program
    .command('accept')
    .summary('check a staged release and publish it (on the server)')
    .description('Check a staged release and make it visible to devices. Runs on the server.')
    .argument('<staging>', 'directory that "shoal publish --staging" made')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', 'one JSON object on standard output');
  withDeltasFirst(withDeltaOptions(command))
    .addHelpText('after', `${DELTA_HELP}\n\nExample:\n  shoal accept out --home server`)
    .action(async (staging: string, options: DeltaOptions & { home: string; json?: boolean }) => {
      const { acceptStaging } = await import('../roles/publish.ts');
      const bar = progress('deltas');
      const accepting = interruptible('interrupted; nothing was published');
      const accepted = acceptStaging(options.home, staging, firstOf(options, accepting.signal, bar));
      const { changed, releases, deltas: early } = await accepted.finally(() => {
        bar.stop();
        accepting.end();
      });
      for (const { product, version } of releases) say(`${product} ${version} is published.`);
      if (!changed) say('All of it was published before.');
      else if (releases.length === 0) say('Accepted.');
      for (const { product, version } of releases) sayFailed(early.filter(({ to }) => to === version), product, version);
      const deltas = [...early];
      let problem = {};
      for (const { product, version } of options.deltasLater === true ? releases : []) {
        const { deltas: made, ...more } = await deltasAfter(options.home, product, version, deltaConfigOf(options));
        deltas.push(...made);
        problem = { ...problem, ...more };
      }
      if (options.json === true) emit({ ok: true, changed, releases: releases.map(({ product, version, sequence }) => ({ product, version, sequence })), deltas, ...problem });
    });
}
