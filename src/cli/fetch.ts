import type { Command } from 'commander';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { keepHeapSmall } from '../kernel/heap.ts';
import { artifactsJson, defaultState, ledgerText, sayLie, withFromMedium } from './device.ts';
import { limitsOf, withGentle, withLimits } from './limits.ts';
import type { LimitFlags } from './limits.ts';
import { emit, progress, readTrustRoot, say } from './output.ts';

interface Options extends LimitFlags {
  readonly origin: string;
  readonly gateway?: string;
  readonly trust: string;
  readonly output: string;
  readonly base?: string[];
  readonly peer?: string[];
  readonly site?: string;
  readonly hardware?: string[];
  readonly state?: string;
  readonly identity?: string;
  readonly insecureHttp?: boolean;
  readonly fromMedium?: boolean;
  readonly json?: boolean;
}

export function addFetch(program: Command): void {
  const command = program
    .command('fetch')
    .summary('bring a release here, verified')
    .description('Bring a release here: verified against the signed root, from the nearest source, resumable.')
    .argument('<name[@version]>', 'product, and version when not the newest')
    .requiredOption('--origin <url>', 'origin')
    .requiredOption('--trust <root.json>', 'trust root of the fleet')
    .requiredOption('-o, --output <path>', 'file to write; a directory when the release has several artifacts')
    .option('--base <path...>', 'older files that may have some of the content')
    .option('--gateway <url>', 'gateway of this site, asked before the origin')
    .option('--peer <url...>', 'neighbours, asked first')
    .option('--identity <dir>', 'identity of this device (shoal enroll): TLS with the fleet')
    .option('--insecure-http', 'talk to hosts outside this machine without TLS: whoever is on the way can see what is fetched')
    .option('--site <name>', 'ask the agents of this site as well')
    .option('--hardware <id...>', 'what this device is')
    .option('--state <dir>', 'where metadata and the highest sequence seen are kept (default: a place a fleet\nbelow ~/.local/state/shoal)')
    .option('--json', 'one JSON object with the ledger on standard output');
  withFromMedium(withGentle(withLimits(command, 'download', 'backhaul')))
    .addHelpText('after', '\nExamples:\n  shoal fetch gateway-os --origin https://origin:8470 --identity /var/lib/shoal/identity --trust root.json -o os.img\n  shoal fetch os@1.4.0 --origin http://127.0.0.1:8470 --trust root.json -o new.img --base old.img\n  shoal fetch os --origin http://127.0.0.1:8470 --trust root.json -o /mnt/b/os.img --from-medium')
    .action(async (wanted: string, options: Options) => {
      keepHeapSmall();
      const { fetchRelease } = await import('../roles/fetch.ts');
      const [product = '', version, ...rest] = wanted.split('@');
      if (rest.length > 0) throw new ShoalError('BAD_NAME', `"${wanted}" is not NAME or NAME@VERSION`);
      const trustedRoot = await readTrustRoot(options.trust);
      const bar = progress(wanted);
      const stop = new AbortController();
      const interrupt = (): void => {
        stop.abort(new ShoalError('INTERRUPTED', 'interrupted; what has arrived is kept', { retry: 'again', hint: 'The same command goes on from there.' }));
      };
      process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
      try {
        const { manifest, paths, ledger } = await fetchRelease({
          product, origin: options.origin, trustedRoot, output: options.output,
          state: options.state ?? defaultState(trustedRoot),
          bases: options.base ?? [],
          peers: options.peer ?? [],
          hardware: options.hardware ?? [],
          signal: stop.signal,
          onProgress: bar.update,
          onLie: sayLie,
          ...limitsOf(options),
          ...(options.site === undefined ? {} : { site: options.site }),
          ...(options.identity === undefined ? {} : { identity: options.identity }),
          ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }),
          ...(options.fromMedium === undefined ? {} : { fromMedium: options.fromMedium }),
          ...(version === undefined ? {} : { version }),
          ...(options.gateway === undefined ? {} : { gateway: options.gateway }),
        });
        bar.stop();
        say(`${manifest.product} ${manifest.version} is in ${paths.join(', ')}: ${ledgerText(ledger)}.`);
        if (options.json === true) emit({ ok: true, product: manifest.product, version: manifest.version, sequence: manifest.sequence, artifacts: artifactsJson(manifest.artifacts, paths), ledger });
      } catch (error) {
        if (options.identity === undefined || !isShoalError(error, 'HTTP_TRUNCATED')) throw error;
        throw new ShoalError(error.code, error.message, { cause: error, ids: error.ids, retry: error.retry, hint: `Hosts of a fleet say nothing to devices that were revoked: "shoal renew --identity ${options.identity}" tells whether this one was.` });
      } finally {
        bar.stop();
        process.removeListener('SIGINT', interrupt).removeListener('SIGTERM', interrupt);
      }
    });
}
