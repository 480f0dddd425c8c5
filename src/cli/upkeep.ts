import type { Command } from 'commander';
import { DEFAULT_HOME } from './values.ts';
import { emit, formatBytes, progress, say } from './output.ts';

export function addGc(program: Command): void {
  program
    .command('gc')
    .summary('give back the space that no live release needs')
    .description('Give back the space of content that no live release needs. Safe beside a running origin and a publish.')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nThe origin does the same once a day. Retire a release first: shoal retire NAME@VERSION.\n\nExample:\n  shoal gc --home fleet')
    .action(async (options: { home: string; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { PackStore } = await import('../store/pack/store.ts');
      const { collectHome, needServer } = await import('../publish/upkeep.ts');
      const home = trustHome(options.home);
      await needServer(home);
      const store = await PackStore.open(home.paths.store);
      try {
        const { forgotten, forgottenDeltas, freedBytes, keptBytes, rewrittenBytes } = await collectHome(home, store);
        say(`${String(forgotten.length)} artifacts were no longer released, ${String(forgottenDeltas)} deltas are no longer offered; ${formatBytes(freedBytes)} freed, ${formatBytes(keptBytes)} kept.`);
        if (options.json === true) emit({ ok: true, forgotten, forgottenDeltas, freedBytes, keptBytes, rewrittenBytes });
      } finally {
        await store.close();
      }
    });
}

export function addVerify(program: Command): void {
  program
    .command('verify')
    .summary('read and hash everything that is stored')
    .description('Read and hash everything in the store, and look for every artifact of every live release.')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--discard', 'forget what is damaged, so that whoever asks for it hears at once that it is not here')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExit code 1 when anything is damaged or missing; the report names it.\n\nExamples:\n  shoal verify --home fleet\n  shoal verify --home fleet || shoal publish …     (what is published again is written again where it is damaged)')
    .action(async (options: { home: string; discard?: boolean; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { PackStore } = await import('../store/pack/store.ts');
      const { needServer, verifyHome } = await import('../publish/upkeep.ts');
      const home = trustHome(options.home);
      await needServer(home);
      const store = await PackStore.open(home.paths.store);
      const bar = progress('verifying');
      try {
        const report = await verifyHome(home, store, { onProgress: bar.update, discard: options.discard === true });
        bar.stop();
        const { chunks, objects, bytes, damaged, incomplete, absent, absentDeltas, releases } = report;
        for (const id of damaged) say(`damaged: ${id}${options.discard === true ? ', discarded' : ''}`);
        for (const { root, missing } of incomplete) say(`incomplete: artifact ${root} lacks ${String(missing.length)} chunks or pages, ${missing[0] ?? ''} first`);
        for (const { product, version, name, root } of absent) say(`absent: ${name} of ${product} ${version}, artifact ${root}`);
        for (const { base, target } of absentDeltas) say(`not whole: the delta from ${base} to ${target}; "shoal delta" makes it again`);
        const sound = damaged.length + incomplete.length + absent.length + absentDeltas.length === 0;
        say(`${String(releases)} releases, ${String(chunks)} chunks, ${String(objects)} pages and objects, ${formatBytes(bytes)} read: ${sound ? 'all as it should be.' : 'NOT sound.'}`);
        if (!sound) say('       Publish the files concerned again: what is damaged is written again.');
        if (options.json === true) emit({ ok: sound, ...(sound ? {} : { error: 'STORE_DAMAGED' }), ...report });
        if (!sound) process.exitCode = 1;
      } finally {
        bar.stop();
        await store.close();
      }
    });
}
