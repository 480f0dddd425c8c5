import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { expectLargeBuffers } from '../kernel/heap.ts';
import type { AgentEvent, FollowedProduct } from '../roles/agent/types.ts';
import { artifactsJson, defaultState, ledgerText, sayLie, withFromMedium } from './device.ts';
import { torrentsOf, withTorrents } from './agent-torrent.ts';
import type { AgentTorrentFlags } from './agent-torrent.ts';
import { dhtOf, withDht } from './dht.ts';
import type { DhtFlags } from './dht.ts';
import { limitsOf, withGentle, withLimits } from './limits.ts';
import type { LimitFlags } from './limits.ts';
import { emit, progress, readTrustRoot, say } from './output.ts';
import type { Progress } from './output.ts';
import { INSECURE_LISTEN, complain, mdnsOf, runUntilTold } from './serve.ts';
import { listenOption } from './values.ts';

interface Options extends AgentTorrentFlags, DhtFlags, LimitFlags {
  readonly origin: string;
  readonly gateway?: string;
  readonly trust: string;
  readonly state?: string;
  readonly site?: string;
  readonly identity?: string;
  readonly insecureHttp?: boolean;
  readonly fromMedium?: boolean;
  readonly base?: string[];
  readonly peer?: string[];
  readonly hardware?: string[];
  readonly poll: number;
  readonly listen: { readonly host: string; readonly port: number };
  readonly advertise?: string;
  readonly mdns?: string | boolean;
}

function parseFollowed(text: string, before: readonly FollowedProduct[] = []): readonly FollowedProduct[] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('give NAME=PATH, for example os=/var/lib/os.img');
  return [...before, { product: text.slice(0, at), output: text.slice(at + 1) }];
}

function parsePoll(text: string): number {
  const seconds = Number(text);
  // setTimeout takes 2^31 milliseconds at most; nobody wants to ask that rarely either.
  if (!(seconds > 0 && seconds <= 1_000_000)) throw new InvalidArgumentError('give seconds, for example 300');
  return seconds;
}

export function addAgent(program: Command, version: string): void {
  const command = program
    .command('agent')
    .summary('keep a device up to date and serve its neighbours')
    .description('Keep a device up to date, and serve its neighbours what it has.')
    .argument('<name=path...>', 'product, and the file where its newest release belongs (a directory when it has several artifacts)', parseFollowed)
    .requiredOption('--origin <url>', 'origin')
    .requiredOption('--trust <root.json>', 'trust root of the fleet')
    .option('--state <dir>', 'where metadata and what is installed are kept (default: a place a fleet below\n~/.local/state/shoal)')
    .option('--gateway <url>', 'gateway of this site, asked before the origin')
    .option('--identity <dir>', 'identity of this device (shoal enroll): TLS with the fleet, neighbours of its site and products alone')
    .option('--site <name>', 'devices of one site learn of each other (default: that of the identity, else "default")')
    .option('--peer <url...>', 'neighbours that need not be announced')
    .option('--base <path...>', 'older files that may have some of the content')
    .option('--hardware <id...>', 'what this device is')
    .option('--poll <seconds>', 'how often to ask for news', parsePoll, 300)
    .addOption(listenOption('where neighbours are served', 8472))
    .option('--mdns [address]', 'find neighbours and gateways on the LAN by multicast DNS (on the interface with this address); with an\nidentity this is on wherever it listens outside this machine')
    .option('--no-mdns', 'never use multicast DNS')
    .option('--insecure-http', `${INSECURE_LISTEN}; also talk to hosts so`)
    .option('--json', 'failures as a JSON object too; results are JSON lines anyway')
    .option('--advertise <url>', 'where neighbours reach it, when that is not where it listens');
  withTorrents(withDht(withFromMedium(withGentle(withLimits(command, 'download', 'backhaul', 'upload')))))
    .addHelpText('after', `
Prints a JSON line when it is ready, for every release it sets out for and has installed, for every neighbour it catches with
wrong bytes, and at the end.

Examples:
  shoal agent os=/var/lib/os.img --origin https://origin:8470 --identity /var/lib/shoal/identity --listen 0.0.0.0:8472 \\
              --trust root.json --state /var/lib/shoal
  shoal agent os=/var/lib/os.img maps=/srv/maps --origin https://origin:8470 --gateway https://gateway:8471 \\
              --identity /var/lib/shoal/identity --listen 0.0.0.0:8472 --trust root.json
  shoal agent os=os.img --origin http://127.0.0.1:8470 --trust root.json
  shoal agent os=os.img --origin https://origin:8470 --identity id --trust root.json --backhaul-limit 200K,22:00-06:00=none --upload-limit 2M
  shoal agent os=os.img --origin https://origin:8470 --identity id --trust root.json --torrent http://origin:8480 --torrent-products os \\
              --torrent-listen 0.0.0.0:6881`)
    .action(async (products: readonly FollowedProduct[], options: Options) => {
      expectLargeBuffers();
      const { startAgent } = await import('../roles/agent/agent.ts');
      const trustedRoot = await readTrustRoot(options.trust);
      const bars = new Map<string, Progress>();
      const agent = await startAgent({
        products: products.map((each) => ({ ...each, bases: options.base ?? [] })),
        origin: options.origin, trustedRoot, version,
        state: options.state ?? defaultState(trustedRoot),
        peers: options.peer ?? [],
        hardware: options.hardware ?? [],
        listen: options.listen,
        pollMs: options.poll * 1000,
        onEvent: (event) => {
          tell(event, bars);
        },
        onProgress: (product, done, total) => bars.get(product)?.update(done, total),
        onError: complain,
        ...limitsOf(options),
        ...mdnsOf(options),
        ...(await dhtOf(options)),
        ...torrentsOf(options, options.listen),
        ...(options.site === undefined ? {} : { site: options.site }),
        ...(options.identity === undefined ? {} : { identity: options.identity }),
        ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }),
        ...(options.fromMedium === undefined ? {} : { fromMedium: options.fromMedium }),
        ...(options.gateway === undefined ? {} : { gateway: options.gateway }),
        ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
      });
      await runUntilTold('agent', agent);
    });
}

function tell(event: AgentEvent, bars: Map<string, Progress>): void {
  switch (event.event) {
    case 'updating':
      say(`${event.product} ${event.version} is there.`);
      bars.set(event.product, progress(`${event.product} ${event.version}`));
      emit({ event: 'updating', product: event.product, version: event.version, sequence: event.sequence });
      break;
    case 'installed': {
      const { manifest, paths, ledger } = event;
      const { product, version, sequence, artifacts } = manifest;
      bars.get(product)?.stop();
      say(`${product} ${version} is in ${paths.join(', ')}: ${ledgerText(ledger)}.`);
      emit({ event: 'installed', product, version, sequence, artifacts: artifactsJson(artifacts, paths), ledger });
      break;
    }
    case 'delta-dropped':
      say(`shoal: the delta from ${event.base.slice(0, 12)}… to ${event.target.slice(0, 12)}… is of no use here (${event.reason}); content is fetched instead`);
      break;
    case 'lie':
      sayLie(event.evidence);
      emit({ event: 'lie', source: event.evidence.source, code: event.evidence.code, message: event.evidence.message });
  }
}
