import { Option } from 'commander';
import type { Command } from 'commander';
import { dropGarbage, expectLargeBuffers } from '../kernel/heap.ts';
import { byteCount } from './values.ts';
import { emit, formatBytes, interruptible, progress, say } from './output.ts';

export function addDiff(program: Command): void {
  program
    .command('diff')
    .summary('make a delta between two files')
    .description('Make a delta: one file that turns OLD into NEW, proven by applying it before it is written.')
    .argument('<old>', 'file that devices have')
    .argument('<new>', 'file that they are to get')
    .argument('<delta>', 'file to write')
    .addOption(new Option('--format <format>', 'shoal, or bsdiff40 for devices that only have bspatch').choices(['shoal', 'bsdiff40']).default('shoal'))
    .option('--memory <bytes>', 'memory to stay within, such as 512M or 2G (format shoal)', byteCount)
    .option('--plain', 'compare bytes alone: neither open compressed streams nor move references of executables (format shoal). Makes a larger delta sooner', false)
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExamples:\n  shoal diff rootfs-1.img rootfs-2.img update.delta\n  shoal diff --memory 1G old.img new.img update.delta\n  shoal diff --format bsdiff40 old.bin new.bin update.bsdiff')
    .action(async (oldPath: string, newPath: string, deltaPath: string, options: { readonly format: string; readonly memory?: number; readonly plain: boolean; readonly json?: boolean }) => {
      expectLargeBuffers();
      const { bsdiffFiles, diffFiles } = await import('../roles/delta-files.ts');
      const { signal, end } = interruptible('interrupted; nothing was written');
      const bar = progress('diff');
      const started = performance.now();
      try {
        const made =
          options.format === 'bsdiff40'
            ? await bsdiffFiles(oldPath, newPath, deltaPath)
            : await diffFiles(oldPath, newPath, deltaPath, { signal, plain: options.plain, onProgress: (done) => { bar.update(done * 1e9, 1e9); }, ...(options.memory === undefined ? {} : { memoryBytes: options.memory }) });
        bar.stop();
        const seconds = (performance.now() - started) / 1000;
        say(`${deltaPath}: ${formatBytes(made.bytes)} for ${formatBytes(made.newBytes)} (${((100 * made.bytes) / Math.max(1, made.newBytes)).toFixed(2)} %), ${seconds.toFixed(1)} s.`);
        if (options.json === true) emit({ ok: true, format: options.format, ...made, seconds });
      } finally {
        bar.stop();
        end();
      }
    });
}

export function addPatch(program: Command): void {
  program
    .command('patch')
    .summary('rebuild a file from an older one and a delta')
    .description('Apply a delta: rebuild NEW from OLD, every byte checked before NEW appears.')
    .argument('<old>', 'file that the delta was made from')
    .argument('<delta>', 'delta made by shoal diff')
    .argument('<new>', 'file to write')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExample:\n  shoal patch rootfs-1.img update.delta rootfs-2.img')
    .action(async (oldPath: string, deltaPath: string, newPath: string, options: { readonly json?: boolean }) => {
      expectLargeBuffers();
      const { patchFile } = await import('../roles/delta-files.ts');
      dropGarbage();
      const { signal, end } = interruptible('interrupted; nothing was written');
      const bar = progress('patch');
      const started = performance.now();
      try {
        const made = await patchFile(oldPath, deltaPath, newPath, { signal, onProgress: bar.update });
        bar.stop();
        const seconds = (performance.now() - started) / 1000;
        say(`${newPath}: ${formatBytes(made.bytes)} from ${formatBytes(made.deltaBytes)}, ${seconds.toFixed(1)} s.`);
        if (options.json === true) emit({ ok: true, ...made, seconds });
      } finally {
        bar.stop();
        end();
      }
    });
}
