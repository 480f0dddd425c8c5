import type { Command } from 'commander';
import type { SeenArtifact, SeenHost, SiteView } from '../roles/site.ts';
import { emit, formatBytes, say } from './output.ts';
import { wholeNumber } from './values.ts';

interface Options {
  readonly site?: string;
  readonly identity?: string;
  readonly insecureHttp?: boolean;
  readonly mdns?: string | boolean;
  readonly watch?: number | boolean;
  readonly json?: boolean;
}

export function addSite(program: Command): void {
  program
    .command('site')
    .summary('show who is at a site, what each holds and fetches')
    .description('Show who is at a site, what each holds, who fetches what over the backhaul, and bytes by source.')
    .argument('[host...]', 'URLs of agents, gateways or the origin: asked who else is there, and shown')
    .option('--site <name>', 'site whose hosts are listed (default: that of the identity, else "default")')
    .option('--mdns [address]', 'find hosts on the LAN by multicast DNS (on the interface with this address)')
    .option('--identity <dir>', 'identity of an operator or of a device of the site (shoal enroll)')
    .option('--insecure-http', 'ask hosts outside this machine without TLS: whoever is on the way can see what is asked')
    .option('--watch [seconds]', 'show it again and again, every two seconds unless told otherwise', wholeNumber(1, 3_600))
    .option('--json', 'one JSON object on standard output for every look')
    .addHelpText('after', `
It asks what neighbours ask each other, and shows what they say. Hosts answer nobody from outside their fleet and site, so name an
identity where they have one; that of an operator sees all products. Exits 1 when nobody answers.

Examples:
  shoal site https://gateway.hall-7:8471 --identity /var/lib/shoal/operator
  shoal site --mdns --identity /var/lib/shoal/identity --watch
  shoal site http://10.0.0.12:8472 --insecure-http --json | jq '.hosts[] | {url, artifacts}'
  shoal site http://127.0.0.1:8472`)
    .action(async (hosts: string[], options: Options) => {
      const { SiteWatch } = await import('../roles/site.ts');
      const mdns = options.mdns === undefined || options.mdns === false ? undefined : typeof options.mdns === 'string' ? { interface: options.mdns } : {};
      const watch = await SiteWatch.open({
        hosts,
        ...(options.site === undefined ? {} : { site: options.site }),
        ...(options.identity === undefined ? {} : { identity: options.identity }),
        ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }),
        ...(mdns === undefined ? {} : { mdns }),
      });
      let stopped: () => void = () => undefined;
      const stop = new Promise<'stop'>((resolve) => (stopped = () => { resolve('stop'); }));
      process.once('SIGINT', stopped).once('SIGTERM', stopped);
      try {
        const seconds = options.watch === undefined || options.watch === false ? undefined : options.watch === true ? 2 : options.watch;
        for (;;) {
          const view = await watch.look();
          const answered = view.hosts.some(({ problem }) => problem === undefined);
          if (seconds !== undefined && process.stderr.isTTY) process.stderr.write('\x1b[H\x1b[2J');
          say(textOf(view));
          if (watch.unnamed) say('This identity is of no site: others of a site are listed with --site NAME.');
          if (options.json === true) emit({ ok: answered, ...view });
          if (!answered && seconds === undefined) process.exitCode = 1;
          if (seconds === undefined || (await pause(seconds, stop)) === 'stop') return;
        }
      } finally {
        process.removeListener('SIGINT', stopped).removeListener('SIGTERM', stopped);
        await watch.close();
      }
    });
}

/** A timer that nobody waits for any more would keep the process for as long. */
async function pause(seconds: number, stop: Promise<'stop'>): Promise<'on' | 'stop'> {
  let timer: NodeJS.Timeout | undefined;
  const on = new Promise<'on'>((resolve) => (timer = setTimeout(() => { resolve('on'); }, seconds * 1000)));
  try {
    return await Promise.race([stop, on]);
  } finally {
    clearTimeout(timer);
  }
}

const SOURCES = ['local', 'delta', 'peer', 'gateway', 'origin', 'torrent', 'control'] as const;

function textOf({ hosts, received, site }: SiteView): string {
  if (hosts.length === 0) return `Site ${site}: nobody was found.`;
  const lines = [`Site ${site}: ${String(hosts.length)} ${hosts.length === 1 ? 'host' : 'hosts'}${sources(received)}`];
  for (const host of hosts) lines.push(...hostLines(host));
  return lines.join('\n');
}

function hostLines({ artifacts, problem, received = {}, role = 'host', sent, url }: SeenHost): readonly string[] {
  if (problem !== undefined) return [`  ${url}  ${problem}`];
  return [`  ${url}  ${role}${sources(received)}${sent === undefined ? '' : `; sent ${formatBytes(sent.content)}`}`, ...artifacts.map((artifact) => `    ${artifactText(artifact)}`)];
}

function artifactText({ base, bringing = [], held, product, root, size, spans, version, working }: SeenArtifact): string {
  const name = product === undefined ? `${root.slice(0, 12)}…` : `${product} ${version ?? ''}`;
  const state = held === spans ? 'whole' : `${String(held)} of ${String(spans)} spans${working === true ? ', at work' : ''}`;
  const from = base === undefined || held === spans ? '' : base === 'none' ? ', without a delta' : `, by a delta from ${base.slice(0, 12)}…`;
  return `${name}  ${formatBytes(size)}  ${state}${from}${bringing.length === 0 ? '' : `, bringing ${bringing.map(String).join(', ')} over the backhaul`}`;
}

function sources(received: Readonly<Record<string, number>>): string {
  const some = SOURCES.filter((source) => (received[source] ?? 0) > 0).map((source) => `${source} ${formatBytes(received[source] ?? 0)}`);
  return some.length === 0 ? '' : `; received ${some.join(', ')}`;
}
