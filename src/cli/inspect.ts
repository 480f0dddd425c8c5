import { join } from 'node:path';
import type { Command } from 'commander';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { isObjectId } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { METADATA_MAX_BYTES, PAGE_MAX_BYTES, TORRENT_MAX_FILE_BYTES } from '../core/limits.ts';
import type { ArtifactSurvey } from '../publish/survey.ts';
import type { StoreReader } from '../store/types.ts';
import { delta, deltaManifest } from './inspect-delta.ts';
import type { Finding } from './inspect-delta.ts';
import { DEFAULT_HOME } from './values.ts';
import { emit, formatBytes, progress, say } from './output.ts';


export function addInspect(program: Command): void {
  program
    .command('inspect')
    .summary('say what a release, artifact, file, delta, staging or home is')
    .description('Say what something is: a release, an artifact, a page, a delta, metadata, a manifest, a torrent, a staging directory, a home, any file.')
    .argument('<what>', 'NAME[@VERSION], the root of an artifact, a file or a directory')
    .option('--home <dir>', 'home in which releases and roots are looked up', DEFAULT_HOME)
    .option('--base <file>', 'of a delta: the file it was made from, to say what its bytes are spent on')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nA file of no known kind is cut and hashed as publishing would, so this also says which root a file has.\n\nExamples:\n  shoal inspect gateway-os@1.4.0 --home fleet\n  shoal inspect rootfs.img\n  shoal inspect out            (a staging directory, before signing it)\n  shoal inspect fleet          (who signs what, until when)\n  shoal inspect update.delta --base rootfs-1.img   (by section of the executables in it)')
    .action(async (what: string, options: { home: string; base?: string; json?: boolean }) => {
      const { tiers } = await import('../kernel/tiers.ts');
      const { kind, lines, facts } = await find(what, options.home, options.base);
      for (const line of lines) say(line);
      if (options.json === true) emit({ ok: true, kind, ...facts, tiers });
    });
}

async function find(what: string, home: string, base?: string): Promise<Finding> {
  const { nodeFiles } = await import('../store/files.ts');
  const stat = await nodeFiles.stat(what);
  if (stat?.kind === 'directory') return directory(what);
  if (stat !== undefined) return file(what, stat.size, base);
  if (isObjectId(what)) return inStore(home, (store) => storedArtifact(store, what));
  return release(what, home);
}

async function directory(path: string): Promise<Finding> {
  const { nodeFiles } = await import('../store/files.ts');
  const has = async (name: string): Promise<boolean> => (await nodeFiles.stat(join(path, name))) !== undefined;
  if (await has('config.json')) return homeFinding(path);
  if (await has('metadata')) {
    const { describeStaging } = await import('../trust/repository/describe.ts');
    const { roles, manifests, lines } = await describeStaging({ files: nodeFiles }, path);
    return { kind: 'staging', lines, facts: { roles, manifests } };
  }
  throw new ShoalError('UNKNOWN_KIND', `${path} is neither a home nor a staging directory`, { ids: { path } });
}

async function homeFinding(path: string): Promise<Finding> {
  const { readConfig, trustHome } = await import('../trust/repository/home.ts');
  const { loadState } = await import('../trust/repository/state.ts');
  const { loadKeys } = await import('../trust/repository/keys.ts');
  const { describeMetadata, linesOf } = await import('../trust/repository/describe.ts');
  const home = trustHome(path);
  const config = await readConfig(home);
  const state = await loadState(home);
  const held = [...(await loadKeys(home.files, home.paths.offlineKeys)).keys(), ...(await loadKeys(home.files, home.paths.onlineKeys)).keys()];
  const roles = [
    describeMetadata('root', state.root.metadata),
    describeMetadata('targets', state.targets.metadata),
    ...[...state.delegated].map(([role, { metadata }]) => describeMetadata(role, metadata)),
    ...(['snapshot', 'timestamp'] as const).flatMap((role) => (state[role] === undefined ? [] : [describeMetadata(role, state[role].metadata)])),
  ];
  const { liveReleases } = await import('../publish/upkeep.ts');
  const names = new Map<ObjectId, string>();
  const releases = config.part === 'offline' ? [] : await liveReleases(home).catch(() => []); // Names are an extra: a damaged home is looked into as well.
  for (const { product, version, artifacts } of releases) for (const { name, root } of artifacts) names.set(root, `${name} of ${product} ${version}`);
  const nameOf = (root: ObjectId): string => names.get(root) ?? `${root.slice(0, 12)}…`;
  const lines = [
    `${path}: ${config.part} home, namespace ${config.namespace}; private keys here: ${held.length === 0 ? 'none' : held.map((id) => id.slice(0, 8)).join(', ')}`,
    ...roles.flatMap((role) => linesOf(role, nameOf)),
  ];
  return { kind: 'home', lines, facts: { part: config.part, namespace: config.namespace, keysHeld: held, roles } };
}

async function file(path: string, size: number, base?: string): Promise<Finding> {
  const { nodeFiles } = await import('../store/files.ts');
  const { readWhole } = await import('../store/durable.ts');
  const magic = await magicOf(path);
  if (magic === 'SHDF') return delta(path, base);
  if (magic === 'SHDM') return deltaManifest(path);
  if (magic.startsWith('d') && path.endsWith('.torrent')) return torrent(path);
  if (size > 0 && size <= METADATA_MAX_BYTES) {
    const bytes = (await readWhole(nodeFiles, path, METADATA_MAX_BYTES)) ?? new Uint8Array();
    if (size <= PAGE_MAX_BYTES && Buffer.from(bytes.subarray(0, 4)).toString('latin1') === 'SHPG') return page(bytes);
    const known = bytes[0] === 0x7b ? await jsonFile(bytes) : undefined;
    if (known !== undefined) return known;
  }
  const { surveyFile } = await import('../publish/survey.ts');
  const bar = progress('hashing');
  try {
    const survey = await surveyFile(path, { onProgress: bar.update });
    bar.stop();
    return { kind: 'file', lines: [`${path}, cut as publishing would cut it:`, ...artifactLines(survey), `  SHA-256 ${survey.sha256}`], facts: { artifact: survey } };
  } finally {
    bar.stop();
  }
}

async function torrent(path: string): Promise<Finding> {
  const { nodeFiles } = await import('../store/files.ts');
  const { readWhole } = await import('../store/durable.ts');
  const { describeTorrent } = await import('../publish/torrent.ts');
  const found = await describeTorrent((await readWhole(nodeFiles, path, TORRENT_MAX_FILE_BYTES)) ?? new Uint8Array());
  const bytes = found.files.reduce((sum, { size }) => sum + size, 0);
  const lines = [
    `${path}: torrent ${found.infoHash}, "${found.name}", ${formatBytes(bytes)} in ${String(found.pieces)} pieces of ${formatBytes(found.pieceLength)}${found.private ? ', private' : ''}`,
    ...found.files.map((file) => `  ${file.path}, ${formatBytes(file.size)}`),
    ...found.webSeeds.map((url) => `  web seed ${url}`),
    ...found.trackers.map((url) => `  tracker  ${url}`),
  ];
  return { kind: 'torrent', lines, facts: { ...found } };
}

async function magicOf(path: string): Promise<string> {
  const { nodeFiles } = await import('../store/files.ts');
  const opened = await nodeFiles.open(path, 'read');
  try {
    const head = new Uint8Array(4);
    return Buffer.from(head.subarray(0, await opened.read(head, 0))).toString('latin1');
  } finally {
    await opened.close();
  }
}

async function page(bytes: Uint8Array): Promise<Finding> {
  const { decodePage, isLeaf } = await import('../merkle/page.ts');
  const { sealPage } = await import('../merkle/verify.ts');
  const decoded = decodePage(bytes);
  const { id } = sealPage(decoded);
  const count = isLeaf(decoded) ? decoded.chunks.length : decoded.children.length;
  const of = isLeaf(decoded) ? 'chunks of one span' : `pages of level ${String(decoded.level - 1)}`;
  return { kind: 'page', lines: [`index page ${id}`, `  level ${String(decoded.level)}: ${String(count)} ${of}, ${formatBytes(decoded.bytes)}`], facts: { id, page: decoded } };
}

/** A manifest or TUF metadata; undefined for any other text that begins with a brace. */
async function jsonFile(bytes: Uint8Array): Promise<Finding | undefined> {
  let value: { readonly format?: unknown; readonly artifacts?: unknown; readonly signed?: { readonly _type?: unknown } } | null;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as typeof value;
  } catch {
    return undefined; // Some other file.
  }
  const { describeMetadata, linesOf, manifestLines } = await import('../trust/repository/describe.ts');
  if (value?.format !== undefined && value.artifacts !== undefined) {
    const { decodeManifest } = await import('../core/manifest.ts');
    const manifest = decodeManifest(bytes);
    return { kind: 'manifest', lines: manifestLines(manifest), facts: { manifest } };
  }
  const type = value?.signed?._type;
  if (type !== 'root' && type !== 'targets' && type !== 'snapshot' && type !== 'timestamp') return undefined;
  const { parseMetadata } = await import('../trust/metadata.ts');
  // A delegated role has the form of targets and lists files.
  const metadata = type === 'root' ? parseMetadata('root', bytes) : type === 'snapshot' ? parseMetadata('snapshot', bytes) : type === 'timestamp' ? parseMetadata('timestamp', bytes) : parseMetadata('targets', bytes);
  const role = type === 'targets' && 'targets' in metadata.signed && Object.keys(metadata.signed.targets).length > 0 ? 'delegated' : type;
  const description = describeMetadata(role, metadata);
  return { kind: 'metadata', lines: linesOf(description), facts: { ...description } };
}

async function inStore<T>(home: string, work: (store: StoreReader) => Promise<T>): Promise<T> {
  const { trustHome } = await import('../trust/repository/home.ts');
  const { needServer } = await import('../publish/upkeep.ts');
  const { PackStore } = await import('../store/pack/store.ts');
  const place = trustHome(home);
  await needServer(place);
  const store = await PackStore.open(place.paths.store);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

async function storedArtifact(store: StoreReader, root: ObjectId): Promise<Finding> {
  const { surveyStored } = await import('../publish/survey.ts');
  const { ids: _ids, knownBytes: _known, ...survey } = await surveyStored(store, root);
  return { kind: 'artifact', lines: artifactLines(survey), facts: { artifact: survey } };
}

async function release(what: string, home: string): Promise<Finding> {
  const { trustHome } = await import('../trust/repository/home.ts');
  const { liveReleases } = await import('../publish/upkeep.ts');
  const { surveyStored } = await import('../publish/survey.ts');
  const { manifestLines } = await import('../trust/repository/describe.ts');
  const [product, version] = what.split('@', 2);
  const all = (await liveReleases(trustHome(home)).catch((error: unknown) => {
    if (!isShoalError(error, 'NO_HOME')) throw error;
    // Whoever meant a file has not heard of homes.
    throw new ShoalError('NO_HOME', `there is no file ${what}, and ${home}, where a release of that name would be, is no Shoal home`, { cause: error, ids: { what, home }, hint: 'Name a file, or a release and its home with --home.' });
  })).filter((each) => each.product === product);
  const at = version === undefined ? 0 : all.findIndex((each) => each.version === version);
  const manifest = all[at];
  if (manifest === undefined) {
    throw new ShoalError('NO_SUCH_RELEASE', `${what} is neither a file nor a release of ${home}`, { ids: { what }, hint: 'Name a file, a directory, the root of an artifact, or NAME[@VERSION].' });
  }
  const before = all[at + 1];
  return inStore(home, async (store) => {
    const old = new Set<ObjectId>();
    for (const { root } of before?.artifacts ?? []) for (const id of (await surveyStored(store, root)).ids) old.add(id);
    const artifacts = [];
    const lines = manifestLines(manifest);
    for (const { name, root } of manifest.artifacts) {
      const { ids: _ids, ...survey } = await surveyStored(store, root, old);
      artifacts.push({ name, ...survey });
      lines.push(`  ${name}`, ...artifactLines(survey).map((line) => `  ${line}`));
      if (before !== undefined) lines.push(`    ${formatBytes(survey.knownBytes)} of it are in ${before.version} already, chunk by chunk`);
    }
    return { kind: 'release', lines, facts: { manifest, artifacts, ...(before === undefined ? {} : { before: before.version }) } };
  });
}

function artifactLines({ root, size, spans, chunks, distinctChunks, distinctBytes, shortest, longest, pages, pageBytes }: ArtifactSurvey): string[] {
  return [
    `  root ${root}`,
    `  ${formatBytes(size)} in ${String(spans)} spans and ${String(chunks)} chunks of ${String(shortest)} to ${String(longest)} bytes, ${chunks === 0 ? '0' : String(Math.round(size / chunks))} on average`,
    `  ${String(distinctChunks)} different chunks, ${formatBytes(distinctBytes)}; index of ${String(pages)} pages, ${formatBytes(pageBytes)}`,
  ];
}
