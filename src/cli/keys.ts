import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import { parseName } from '../core/names.ts';
import type { RoleKeys } from '../trust/repository/build.ts';
import type { HomeConfig, TrustHome } from '../trust/repository/home.ts';
import type { PublicKey } from '../trust/repository/keys.ts';
import type { MetadataFetcher } from '../trust/types.ts';
import { DEFAULT_HOME, wholeNumber } from './values.ts';
import { emit, readTrustRoot, say } from './output.ts';
import { ownStaging, sayMissing, saySignatures, settle } from './settle.ts';

const JSON_TEXT = 'one JSON object on standard output';

export function addKeygen(program: Command): void {
  program
    .command('keygen')
    .summary('make a key for a role')
    .description('Make a key for a role in this home. The public half is written where you say; the private one stays.')
    .argument('<role>', 'root, targets, snapshot, timestamp, deltas or product-NAME')
    .requiredOption('--out <file>', 'where the public key goes: take it to "shoal rotate --key"')
    .option('--home <dir>', 'home that will hold the private key', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nExample (a second person gets a say over the list of products):\n  shoal join --origin URL --trust root.json --home mine\n  shoal keygen targets --home mine --out targets.pub\n  shoal rotate targets --home theirs --keep --key targets.pub --threshold 2 --staging out\n  shoal sign out --home mine')
    .action(async (role: string, options: { out: string; home: string; json?: boolean }) => {
      const { readConfig, trustHome } = await import('../trust/repository/home.ts');
      const { keyIdOf } = await import('../trust/repository/keys.ts');
      const { writeDurably } = await import('../store/durable.ts');
      const home = trustHome(options.home);
      const key = await newKey(home, (await readConfig(home)).part, role);
      await writeDurably(home.files, options.out, Buffer.from(`${JSON.stringify(key, null, 1)}\n`));
      say(`Key ${keyIdOf(key).slice(0, 8)} of ${role} made; its public half is in ${options.out}.`);
      if (options.json === true) emit({ ok: true, role, keyId: keyIdOf(key), publicKey: key, path: options.out });
    });
}

interface RotateOptions {
  readonly key?: string[];
  readonly keep?: boolean;
  readonly threshold?: number;
  readonly renew?: boolean;
  readonly staging?: string;
  readonly home: string;
  readonly json?: boolean;
}

export function addRotate(program: Command): void {
  program
    .command('rotate')
    .summary('exchange keys, change thresholds, renew signatures')
    .description('Exchange the keys of a role, change how many must sign, or renew signatures before they end.')
    .argument('<role...>', 'root, targets, snapshot, timestamp, deltas or product-NAME')
    .option('--key <file...>', 'public keys made elsewhere with "shoal keygen"; without any, a new key is made in this home')
    .option('--keep', 'keep the present keys beside the new ones')
    .option('--threshold <n>', 'signatures that are needed from now on (default: as before)', wholeNumber(1))
    .option('--renew', 'only sign again with the present keys')
    .option('--staging <dir>', 'where the signed change goes; without it a whole home takes it at once')
    .option('--home <dir>', 'home with root keys (top roles) or targets keys (products, deltas)', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nA new root is signed by the old root keys and the new ones; every root stays published, so devices follow from any of them.\n\nExamples:\n  shoal rotate timestamp snapshot --home fleet\n  shoal rotate --renew root targets --home offline --staging out\n  shoal keygen timestamp --home server --out t.pub && shoal rotate timestamp --key t.pub --home offline --staging out')
    .action(async (roles: string[], options: RotateOptions) => {
      const { readConfig, trustHome } = await import('../trust/repository/home.ts');
      const { stageRotation } = await import('../trust/repository/rotate.ts');
      const home = trustHome(options.home);
      const { part } = await readConfig(home);
      const staging = options.staging ?? ownStaging(home, 'rotate');
      const renew = options.renew === true;
      if (renew && (options.key !== undefined || options.keep === true || options.threshold !== undefined)) throw usage('--renew signs with the present keys: name no others');
      if (roles.length > 1 && options.key !== undefined) throw usage('name one role with --key: one key signs for one role');
      const change: Record<string, RoleKeys> = {};
      if (!renew) for (const role of roles) change[role] = await nextKeys(home, part, role, options);
      const staged = await stageRotation(home, staging, change, renew ? roles : []);
      await settle(home, part, staging, options.staging !== undefined, staged, options.json === true);
    });
}

export function addSign(program: Command): void {
  program
    .command('sign')
    .summary('add signatures to a staging directory')
    .description('Show what a staging directory says and add the signatures of this home.')
    .argument('<staging>', 'directory made by publish, rotate or retire on another machine')
    .option('--home <dir>', 'home with offline keys', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nLook before you sign: "shoal inspect STAGING" says the same without signing.\n\nExample:\n  shoal sign out --home mine')
    .action(async (staging: string, options: { home: string; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { describeStaging } = await import('../trust/repository/describe.ts');
      const { signStaged } = await import('../trust/repository/rotate.ts');
      const home = trustHome(options.home);
      for (const line of (await describeStaging(home, staging)).lines) say(line);
      const { signatures, complete } = await signStaged(home, staging);
      saySignatures(signatures);
      if (complete) say(`Complete; next: shoal upload ${staging} ORIGIN, or shoal accept ${staging} on the server.`);
      else sayMissing(staging, []);
      if (options.json === true) emit({ ok: true, staging, signatures, complete });
    });
}

const IDENTITY_TEXT = 'identity of an operator (shoal token --role operator), for an origin that speaks TLS with certificates of the fleet';

export function addJoin(program: Command): void {
  program
    .command('join')
    .summary('make an offline home for one more key holder')
    .description('Make an offline home for one more key holder of a fleet that is there already.')
    .requiredOption('--origin <url>', 'origin')
    .requiredOption('--trust <root.json>', 'trust root of the fleet, from somebody you trust')
    .option('--namespace <name>', 'namespace of all content, when it is not the default')
    .option('--identity <dir>', IDENTITY_TEXT)
    .option('--home <dir>', 'where', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nExample:\n  shoal join --origin https://origin.example --trust root.json --home mine && shoal keygen targets --home mine --out targets.pub')
    .action(async (options: { origin: string; trust: string; namespace?: string; identity?: string; home: string; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { joinHome } = await import('../trust/repository/sync.ts');
      const trust = await readTrustRoot(options.trust);
      const home = trustHome(options.home);
      const products = await published(options, (fetcher) => joinHome(home, trust, fetcher, options.namespace));
      say(`Home made in ${home.directory}; it holds no keys yet: shoal keygen ROLE --home ${home.directory} --out FILE.`);
      if (options.json === true) emit({ ok: true, home: home.directory, products });
    });
}

export function addSync(program: Command): void {
  program
    .command('sync')
    .summary('bring an offline home up to date')
    .description('Bring an offline home up to date with what others have published, verified against its own root.')
    .requiredOption('--origin <url>', 'origin')
    .option('--discard', 'drop what this home signed and never uploaded')
    .option('--identity <dir>', IDENTITY_TEXT)
    .option('--home <dir>', 'offline home', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nExample:\n  shoal sync --origin https://origin.example --home offline')
    .action(async (options: { origin: string; discard?: boolean; identity?: string; home: string; json?: boolean }) => {
      const { trustHome } = await import('../trust/repository/home.ts');
      const { syncOffline } = await import('../trust/repository/sync.ts');
      const { updated, ahead } = await published(options, (fetcher) => syncOffline(trustHome(options.home), fetcher, { discard: options.discard === true }));
      say(updated.length === 0 ? 'Nothing new.' : `Brought up to date: ${updated.join(', ')}.`);
      if (ahead.length > 0) say(`Signed here and not published yet: ${ahead.join(', ')}. Upload the staging directory, or --discard it.`);
      if (options.json === true) emit({ ok: true, updated, ahead });
    });
}

/** Runs `work` with a fetcher of what an origin has published. */
async function published<T>({ origin, identity }: { readonly origin: string; readonly identity?: string }, work: (fetcher: MetadataFetcher) => Promise<T>): Promise<T> {
  const { membershipOf, upstreamOf } = await import('../roles/membership.ts');
  const { checkHost } = await import('../roles/plain-http.ts');
  const { nodeFiles } = await import('../store/files.ts');
  const { UpstreamMetadata } = await import('../exchange/upstream-metadata.ts');
  const { systemClock } = await import('../core/clock.ts');
  checkHost(origin, false);
  const member = await membershipOf(() => undefined, { origin, files: nodeFiles, clock: systemClock, ...(identity === undefined ? {} : { identity }) });
  const upstream = upstreamOf(origin, systemClock, member, 'host');
  try {
    return await work(new UpstreamMetadata([upstream]));
  } finally {
    await upstream.close();
    await member?.close();
  }
}

export function addRetire(program: Command): void {
  program
    .command('retire')
    .summary('take releases back')
    .description('Take releases back: devices are not offered them any more, and gc may forget their content.')
    .argument('<name@version...>', 'releases')
    .option('--staging <dir>', 'where the signed change goes; without it a whole home takes it at once')
    .option('--home <dir>', 'home with the keys of the product', DEFAULT_HOME)
    .option('--json', JSON_TEXT)
    .addHelpText('after', '\nA device that runs a retired release keeps it; it never goes below its sequence number.\n\nExample:\n  shoal retire gateway-os@1.3.0 --home fleet && shoal gc --home fleet')
    .action(async (names: string[], options: { staging?: string; home: string; json?: boolean }) => {
      const { readConfig, trustHome } = await import('../trust/repository/home.ts');
      const { stageRelease } = await import('../trust/repository/stage.ts');
      const home = trustHome(options.home);
      const { part } = await readConfig(home);
      const retire: Record<string, string[]> = {};
      for (const name of names) {
        const [product = '', version = ''] = name.split('@', 2);
        (retire[parseName('product', product)] ??= []).push(parseName('version', version));
      }
      const staging = options.staging ?? ownStaging(home, 'retire');
      const staged = await stageRelease(home, staging, [], { retire });
      await settle(home, part, staging, options.staging !== undefined, staged, options.json === true);
    });
}

function usage(message: string): ShoalError {
  return new ShoalError('BAD_USAGE', message, { hint: 'See "shoal rotate --help".' });
}

/** A key for `role` in the half of the home where it belongs. */
async function newKey(home: TrustHome, part: HomeConfig['part'], role: string): Promise<PublicKey> {
  const { ONLINE_ROLES } = await import('../trust/roles.ts');
  const { createRoleKey } = await import('../trust/repository/rotate.ts');
  if (part === 'offline' && (ONLINE_ROLES as readonly string[]).includes(role)) {
    throw new ShoalError('ONLINE_KEY_ELSEWHERE', `the key of ${role} belongs on the server`, { ids: { role }, hint: `Run "shoal keygen ${role} --out FILE" there and bring FILE here with --key.` });
  }
  return createRoleKey(home, role);
}

/** Who signs `role` from now on. */
async function nextKeys(home: TrustHome, part: HomeConfig['part'], role: string, options: RotateOptions): Promise<RoleKeys> {
  const { loadState } = await import('../trust/repository/state.ts');
  const { delegationsOf, rootRole } = await import('../trust/repository/build.ts');
  const { TOP_ROLES } = await import('../trust/roles.ts');
  const { readPublicKey } = await import('../trust/repository/keys.ts');
  const { root, targets } = await loadState(home);
  const top = TOP_ROLES.find((each) => each === role);
  const before = top === undefined ? delegationsOf(targets.metadata).get(role) : rootRole(root.metadata, top);
  if (before === undefined) throw new ShoalError('BAD_ROLE', `${role} is not a role of this repository`, { ids: { role }, hint: 'Roles: root, targets, snapshot, timestamp, deltas, product-NAME.' });
  const named = await Promise.all((options.key ?? []).map((path) => readPublicKey(home.files, path)));
  // A threshold alone changes no keys.
  const only = options.threshold !== undefined && options.keep === true && named.length === 0;
  const fresh = named.length > 0 || only ? named : [await newKey(home, part, role)];
  const keys = options.keep === true ? [...before.keys, ...fresh] : fresh;
  return { keys, threshold: options.threshold ?? Math.min(before.threshold, keys.length) };
}
