import type { Command } from 'commander';
import { basename, join } from 'node:path';
import { emit, formatBytes, progress, say } from './output.ts';
import { sayMissing } from './settle.ts';

export const DEFAULT_HOME = '.shoal';

/** Content that waits in the store for further signatures. */
const HOLD_MS = 7 * 86_400_000;

export function addInit(program: Command): void {
  program
    .command('init')
    .description('Make the keys, the trust root for devices and the configuration of a new fleet.')
    .option('--home <dir>', 'where', DEFAULT_HOME)
    .option('--offline <dir>', 'put the offline keys into a home of their own, to be kept on another machine')
    .option('--namespace <name>', 'namespace of all content')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExamples:\n  shoal init --home fleet\n  shoal init --home server --offline /media/stick/keys')
    .action(async (options: { home: string; offline?: string; namespace?: string; json?: boolean }) => {
      const { initHome } = await import('../trust/repository/init.ts');
      const { trustHome } = await import('../trust/repository/home.ts');
      const made = await initHome(trustHome(options.home), {
        ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
        ...(options.offline === undefined ? {} : { offline: trustHome(options.offline) }),
      });
      say(`Home made in ${made.home}. Devices need ${made.trustRoot}.`);
      say(`Keys that authorise software are in ${made.offlineKeys}: keep a copy where no network reaches.`);
      if (options.json === true) emit({ ok: true, ...made });
    });
}

export function addPublish(program: Command): void {
  program
    .command('publish')
    .description('Chunk, store and sign one or more files as the next release of a product.')
    .argument('<file...>', 'artifacts; FILE or NAME=FILE')
    .requiredOption('--name <product>', 'product')
    .requiredOption('--version <version>', 'version, for people; order is kept by a sequence number')
    .option('--hardware <id...>', 'exact hardware ids it is for; any when none is named')
    .option('--min-source <sequence>', 'lowest sequence a device must run already', Number)
    .option('--home <dir>', 'home with the offline keys', DEFAULT_HOME)
    .option('--staging <dir>', 'only sign and pack into this directory, for "shoal accept" on the server')
    .option('--level <n>', 'zstd level of what is stored, 1 to 19', Number, 19)
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExamples:\n  shoal publish rootfs.img --name gateway-os --version 1.4.0\n  shoal publish image=rootfs.img boot=u-boot.bin --name os --version 2 --staging out')
    .action(async (paths: string[], options: { name: string; version: string; hardware?: string[]; minSource?: number; home: string; staging?: string; level: number; json?: boolean }) => {
      const { readConfig, trustHome } = await import('../trust/repository/home.ts');
      const { PackStore } = await import('../store/pack/store.ts');
      const { acceptRelease, publishRelease, stagedStore } = await import('../publish/release.ts');
      const home = trustHome(options.home);
      const { namespace, part } = await readConfig(home);
      const staging = options.staging ?? join(home.paths.staging, `${options.name}-${options.version}`);
      // An offline home serves nothing: its content travels in the staging directory.
      const apart = options.staging !== undefined || part === 'offline';
      const store = await PackStore.open(apart ? stagedStore(staging) : home.paths.store, { level: options.level });
      const bar = progress('publishing');
      try {
        const artifacts = paths.map((text) => {
          const at = text.indexOf('=');
          return at > 0 ? { name: text.slice(0, at), path: text.slice(at + 1) } : { name: basename(text), path: text };
        });
        const input = {
          product: options.name, version: options.version, artifacts,
          ...(options.hardware === undefined ? {} : { hardware: options.hardware }),
          ...(options.minSource === undefined ? {} : { minimumSource: options.minSource }),
        };
        const { manifest, staged, addedBytes, hold } = await publishRelease(home, store, staging, input, { namespace, onProgress: bar.update, ...(apart ? {} : { holdMs: HOLD_MS }) });
        bar.stop();
        const accepted = !apart && staged.complete ? await acceptRelease(home, staging, store, undefined) : undefined;
        if (accepted !== undefined) await hold.release();
        const size = manifest.artifacts.reduce((sum, each) => sum + each.size, 0);
        say(`${manifest.product} ${manifest.version} (sequence ${String(manifest.sequence)}): ${formatBytes(size)}, of which ${formatBytes(addedBytes)} were new to the store.`);
        if (accepted !== undefined) say('Devices can fetch it now.');
        else if (!staged.complete) sayMissing(staging, staged.signatures);
        else say(`Staged in ${staging}; next: shoal upload ${staging} ORIGIN, or shoal accept ${staging} on the server.`);
        if (options.json === true) emit({ ok: true, product: manifest.product, version: manifest.version, sequence: manifest.sequence, artifacts: manifest.artifacts, addedBytes, staging, complete: staged.complete, published: accepted !== undefined });
      } finally {
        bar.stop();
        await store.close();
      }
    });
}

export function addAccept(program: Command): void {
  program
    .command('accept')
    .description('Check a staged release and make it visible to devices. Runs on the server.')
    .argument('<staging>', 'directory that "shoal publish --staging" made')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExample:\n  shoal accept out --home server')
    .action(async (staging: string, options: { home: string; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { nodeFiles } = await import('../store/files.ts');
      const { PackStore } = await import('../store/pack/store.ts');
      const { acceptRelease, stagedStore } = await import('../publish/release.ts');
      const home = trustHome(options.home);
      // Without one the content is in the home's own store already, or the staging changes keys alone.
      const from = (await nodeFiles.stat(stagedStore(staging))) === undefined ? undefined : await PackStore.open(stagedStore(staging));
      const store = await PackStore.open(home.paths.store, { level: 19 });
      try {
        const { changed, releases } = await acceptRelease(home, staging, store, from);
        for (const { product, version } of releases) say(`${product} ${version} is published.`);
        if (!changed) say('All of it was published before.');
        else if (releases.length === 0) say('Accepted.');
        if (options.json === true) emit({ ok: true, changed, releases: releases.map(({ product, version, sequence }) => ({ product, version, sequence })) });
      } finally {
        await from?.close();
        await store.close();
      }
    });
}
