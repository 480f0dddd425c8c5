import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import { unreadable } from '../store/files.ts';
import { parseName } from '../core/names.ts';
import type { Fleet } from '../identity/fleet.ts';
import type { FleetRole } from '../identity/holder.ts';
import { DEFAULT_HOME, wholeNumber } from './values.ts';
import { emit, say } from './output.ts';

const JSON_TEXT = 'one JSON object on standard output';
const SPANS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `30m`, `24h`, `7d`, in milliseconds. */
function duration(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (number === '') throw new InvalidArgumentError('give minutes, hours or days: 30m, 24h, 7d');
  return Number(number) * (SPANS[unit] ?? NaN);
}

async function withFleet<T>(home: string, make: boolean, work: (fleet: Fleet) => Promise<T> | T): Promise<T> {
  const { trustHome } = await import('../trust/repository/home.ts');
  const { openFleet } = await import('../roles/fleet.ts');
  const fleet = await openFleet(trustHome(home), make);
  if (fleet === undefined) throw new ShoalError('NO_FLEET', `${home} has no certificate authority`, { ids: { home }, hint: '"shoal token" makes one.' });
  try {
    return await work(fleet);
  } finally {
    fleet.close();
  }
}

interface TokenOptions {
  readonly products?: string[];
  readonly allProducts?: boolean;
  readonly site?: string;
  readonly role: Exclude<FleetRole, 'origin'>;
  readonly uses: number;
  readonly expires: number;
  readonly note: string;
  readonly home: string;
  readonly json?: boolean;
}

export function addToken(program: Command): void {
  program
    .command('token')
    .summary('make a token that lets devices enrol')
    .description('Make a token that lets devices enrol: for which site, which products, how often and how long.')
    .option('--products <name...>', 'what the devices may fetch and serve')
    .option('--all-products', 'every product, also those to come; what gateways and operators have by default')
    .option('--site <name>', 'site of the devices; a gateway without one serves every site')
    .addOption(new Option('--role <role>', 'what they are to be').choices(['agent', 'gateway', 'operator']).default('agent'))
    .option('--uses <n>', 'devices that can enrol with it', wholeNumber(1, 1_000_000), 1)
    .addOption(new Option('--expires <time>', 'how long it is good: 30m, 24h, 7d').argParser(duration).default(86_400_000, '24h'))
    .option('--note <text>', 'for you, shown by "shoal devices --tokens"', '')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', `
The token goes to standard output and is nowhere else: the home keeps its SHA-256. It names the fleet's CA, so a device that
has it needs to know nothing else of the origin.

Examples:
  shoal token --products os --site hall-7 --home fleet > token
  shoal token --products os maps --site hall-7 --uses 200 --expires 30d --note "hall 7, first batch" --home fleet
  shoal token --role gateway --site hall-7 --home fleet`)
    .action(async (options: TokenOptions) => {
      const every = options.allProducts === true || (options.role !== 'agent' && options.products === undefined);
      if (options.products === undefined && !every) throw new ShoalError('BAD_USAGE', 'a token says which products its devices may have', { hint: 'Add --products NAME… or --all-products.' });
      if (options.products !== undefined && options.allProducts === true) throw new ShoalError('BAD_USAGE', '--products and --all-products exclude each other');
      const products = every ? 'all' : (options.products ?? []).map((each) => parseName('product', each));
      const site = options.site === undefined ? undefined : parseName('site', options.site);
      await withFleet(options.home, true, (fleet) => {
        const { id, text, expires } = fleet.newToken({ role: options.role, site, products, uses: options.uses, lifeMs: options.expires, note: options.note });
        say(`Token ${id} lets ${String(options.uses)} ${options.role}${options.uses === 1 ? '' : 's'} enrol until ${new Date(expires).toISOString()}. Next, on the device: shoal enroll --origin URL --token-file FILE --identity DIR`);
        if (options.json === true) emit({ ok: true, id, token: text, expires: new Date(expires).toISOString() });
        else process.stdout.write(`${text}\n`);
      });
    });
}

export function addEnroll(program: Command): void {
  program
    .command('enroll')
    .summary('give this device its identity')
    .description('Give this device its identity: a key that never leaves it, and certificates of the fleet, which an agent renews by itself.')
    .requiredOption('--origin <url>', 'origin')
    .option('--token <token>', 'token that "shoal token" made; others on this machine may see it in the list of processes')
    .option('--token-file <file>', 'file with the token; - for standard input')
    .requiredOption('--identity <dir>', 'where the identity is to lie')
    .option('--insecure-http', 'take a plain HTTP origin outside this machine: whoever is on the way gets the token')
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nIt may be repeated: the key stays, and a one-time token still works for it when the first answer was lost.\n\nExamples:\n  shoal enroll --origin https://origin.example:8470 --token-file token --identity /var/lib/shoal/identity\n  ssh device shoal enroll --origin https://origin.example:8470 --token-file - --identity /var/lib/shoal/identity < token')
    .action(async (options: { origin: string; token?: string; tokenFile?: string; identity: string; insecureHttp?: boolean; json?: boolean }) => {
      if (!URL.canParse(options.origin)) throw new ShoalError('BAD_USAGE', `"${options.origin}" is not a URL`, { hint: 'For example https://origin.example:8470' });
      const token = await tokenFrom(options);
      const { enrol } = await import('../roles/fleet.ts');
      const credentials = await enrol({ origin: options.origin, token, identity: options.identity, ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }) });
      const { holder, ends } = credentials;
      const { device, role, site, products } = holder;
      say(`This is ${role} ${device} of site ${site ?? '(none)'}, for ${products === 'all' ? 'all products' : products.join(', ')}. ${role === 'operator' ? `Use it with --identity ${options.identity}, for example: shoal site HOST; its .pem files are for curl and Prometheus` : `Start it with --identity ${options.identity}`}.`);
      if (options.json === true) emit({ ok: true, device, role, site, products, fleet: holder.fleet, expires: new Date(ends).toISOString() });
    });
}

export function addRenew(program: Command): void {
  program
    .command('renew')
    .summary('renew the certificates of an identity now')
    .description('Renew the certificates of an identity now. Agents and gateways do it by themselves; operators run this, from cron or by hand.')
    .requiredOption('--identity <dir>', 'identity that "shoal enroll" made')
    .option('--origin <url>', 'origin, when it is not the one it enrolled with')
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nWorks after months, and whatever time the clock says. Certificates are good for seven days.\n\nExamples:\n  shoal renew --identity /var/lib/shoal/operator\n  curl --cacert operator/ca.pem --cert operator/operator.pem --key operator/operator.key.pem \\\n       --connect-to ::gateway.hall-7:8471 https://3f0e6c1b9a2d4e5f8091a2b3c4d5e6f7.shoal/metrics')
    .action(async (options: { identity: string; origin?: string; json?: boolean }) => {
      const { renew } = await import('../roles/fleet.ts');
      const { holder, ends } = await renew(options.identity, options.origin);
      say(`The certificates of ${holder.role} ${holder.device} are good until ${new Date(ends).toISOString()}.`);
      if (options.json === true) emit({ ok: true, device: holder.device, role: holder.role, site: holder.site, products: holder.products, expires: new Date(ends).toISOString() });
    });
}

async function tokenFrom({ token, tokenFile }: { readonly token?: string; readonly tokenFile?: string }): Promise<string> {
  if ((token === undefined) === (tokenFile === undefined)) throw new ShoalError('BAD_USAGE', 'give the token, with --token or --token-file');
  if (token !== undefined) return token;
  const { readFile } = await import('node:fs/promises');
  const path = tokenFile === '-' ? '/dev/stdin' : (tokenFile ?? '');
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw unreadable(cause, path, 'the token');
  }
}

export function addRevoke(program: Command): void {
  program
    .command('revoke')
    .summary('take the identity of devices away, or end tokens')
    .description('Take the identity of devices away, for good, or end tokens.')
    .argument('[device...]', 'devices, as "shoal devices" lists them')
    .option('--token <id...>', 'tokens to end; devices that enrolled with them stay')
    .option('--reason <text>', 'for the audit log', '')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', `
The origin acts on it within five seconds. Gateways and agents hear of it with the next answer from anybody who knows: within
one polling interval, five minutes by default. Whoever hears nothing at all stops talking to a revoked device when its
certificate ends, after seven days at most.

Examples:
  shoal revoke 3f0e6c1b9a2d4e5f8091a2b3c4d5e6f7 --reason stolen --home fleet
  shoal revoke --token bG9zdHRva2Vu --home fleet`)
    .action(async (devices: string[], options: { token?: string[]; reason: string; home: string; json?: boolean }) => {
      const tokens = options.token ?? [];
      if (devices.length + tokens.length === 0) throw new ShoalError('BAD_USAGE', 'name devices, or tokens with --token', { hint: '"shoal devices" lists them.' });
      await withFleet(options.home, false, async (fleet) => {
        const ended = tokens.filter((id) => fleet.registry.revokeToken(id, Date.now()));
        for (const id of tokens) say(ended.includes(id) ? `Token ${id} is ended.` : `There is no token ${id}.`);
        const { changed, number }: { readonly changed: readonly string[]; readonly number?: number } = devices.length === 0 ? { changed: [] } : await fleet.revoke(devices, options.reason);
        for (const device of devices) say(changed.includes(device) ? `${device} is revoked.` : `${device} was revoked before.`);
        if (options.json === true) emit({ ok: true, revoked: changed, tokens: ended, ...(number === undefined ? {} : { number }) });
        if (ended.length < tokens.length) throw new ShoalError('NO_SUCH_TOKEN', 'not every token was there', { ids: { missing: tokens.filter((id) => !ended.includes(id)).join(' ') } });
      });
    });
}

export function addDevices(program: Command): void {
  program
    .command('devices')
    .summary('list devices, tokens and what was done with them')
    .description('List the devices that have enrolled; with --runs how many run what, with --tokens the tokens, with --audit who enrolled, was refused, was revoked.')
    .option('--runs', 'releases instead, and how many devices said in the last thirty days that they run them')
    .option('--tokens', 'tokens instead')
    .option('--audit', 'the audit log instead')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nAgents say what they run when they ask for news, once or twice a day at least.\n\nExamples:\n  shoal devices --home fleet\n  shoal devices --runs --home fleet --json\n  shoal devices --audit --home fleet --json')
    .action(async (options: { runs?: boolean; tokens?: boolean; audit?: boolean; home: string; json?: boolean }) => {
      const { releasesRun } = await import('../roles/running.ts');
      if (options.runs === true) {
        const { counts } = await releasesRun(options.home);
        if (options.json === true) emit({ ok: true, runs: counts });
        else for (const { product, version, sequence, devices } of counts) console.log([product, version ?? `(sequence ${String(sequence)}, released no longer)`, `${String(devices)} ${devices === 1 ? 'device' : 'devices'}`].join('  '));
        return;
      }
      await withFleet(options.home, false, async ({ registry }) => {
        const date = (at: number): string => new Date(at).toISOString();
        const { productsText } = await import('../identity/registry.ts');
        if (options.audit === true) {
          const audit = registry.audit();
          if (options.json === true) emit({ ok: true, audit: audit.map((each) => ({ ...each, at: date(each.at) })) });
          else for (const { at, event, about, from, detail } of audit) console.log([date(at), event.padEnd(13), about, from, detail].filter((each) => each !== '').join('  '));
        } else if (options.tokens === true) {
          const tokens = registry.tokens();
          if (options.json === true) emit({ ok: true, tokens: tokens.map((each) => ({ ...each, created: date(each.created), expires: date(each.expires) })) });
          else for (const { id, role, site, products, uses, expires, note } of tokens) console.log([id, role.padEnd(8), site ?? '-', productsText(products), `${String(uses)} left`, `until ${date(expires)}`, note].join('  '));
        } else {
          const { ofDevice } = await releasesRun(options.home);
          const devices = registry.devices();
          if (devices.length === 0) say('No device has enrolled here; "shoal token" makes what it takes.');
          if (options.json === true) emit({ ok: true, devices: devices.map((each) => ({ ...each, runs: ofDevice(each.device).map((run) => ({ ...run, seen: date(run.seen) })), enrolled: date(each.enrolled), renewed: date(each.renewed), ...(each.revoked === undefined ? {} : { revoked: date(each.revoked) }) })) });
          else for (const { device, role, site, products, renewed, revoked } of devices) console.log([device, role.padEnd(8), site ?? '-', productsText(products), revoked === undefined ? `renewed ${date(renewed)}` : `REVOKED ${date(revoked)}`, ...ofDevice(device).map((run) => `runs ${run.product} ${run.version ?? `sequence ${String(run.sequence)}`}`)].join('  '));
        }
      });
    });
}
