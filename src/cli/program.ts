import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { addAgent } from './agent.ts';
import { addDiff, addPatch } from './delta.ts';
import { addDelta } from './deltas.ts';
import { addFetch } from './fetch.ts';
import { addAccept, addInit, addPublish } from './home.ts';
import { addDevices, addEnroll, addRenew, addRevoke, addToken } from './identity.ts';
import { addInspect } from './inspect.ts';
import { addJoin, addKeygen, addRetire, addRotate, addSign, addSync } from './keys.ts';
import { report } from './output.ts';
import { addGateway, addOrigin } from './serve.ts';
import { addSite } from './site.ts';
import { addGc, addVerify } from './upkeep.ts';
import { addTorrent } from './torrent.ts';
import { addUpload } from './upload.ts';

interface Package {
  readonly version: string;
}

/** The same relative place from src/cli and from dist/cli. */
function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as Package).version;
}

async function printVersion(json: boolean): Promise<void> {
  const { tiers } = await import('../kernel/tiers.ts');
  const version = packageVersion();
  const node = process.versions.node;
  if (json) {
    console.log(
      JSON.stringify({ name: 'shoal', version, node, platform: process.platform, arch: process.arch, tiers }),
    );
    return;
  }
  console.log(`shoal ${version} on Node ${node}`);
  for (const [name, { tier, reason }] of Object.entries(
    tiers as unknown as Record<string, { tier: string; reason?: string }>,
  )) {
    console.log(`  ${name.padEnd(6)} ${tier}${reason === undefined ? '' : `  (${reason})`}`);
  }
}

/** Everything the command line can do. */
function makeProgram(): Command {
  const program = new Command('shoal')
    .description('Distributes releases to fleets of devices: signed once, chunked once, fetched once per site.')
    .addOption(new Option('-V, --version', 'show the version and what the hot loops run on'))
    .addOption(new Option('--json', 'one JSON object as the last line of standard output'))
    .enablePositionalOptions()
    .exitOverride()
    // A word that is no command gets a sentence of ours.
    .allowExcessArguments()
    .action(async (options: { readonly version?: boolean; readonly json?: boolean }) => {
      const [word] = program.args;
      if (word !== undefined) program.error(`error: there is no command "${word}": "shoal --help" lists those there are`, { exitCode: 2 });
      if (options.version === true) await printVersion(options.json === true);
      else program.outputHelp();
    });

  program.commandsGroup('Publishing:');
  addInit(program);
  addPublish(program);
  addUpload(program);
  addAccept(program);
  addRetire(program);
  addTorrent(program);
  program.commandsGroup('Servers:');
  addOrigin(program, packageVersion());
  addGateway(program, packageVersion());
  program.commandsGroup('Devices:');
  addFetch(program);
  addAgent(program, packageVersion());
  addEnroll(program);
  addRenew(program);
  program.commandsGroup('Deltas:');
  addDelta(program);
  addDiff(program);
  addPatch(program);
  program.commandsGroup('Upkeep:');
  addInspect(program);
  addVerify(program);
  addGc(program);
  addSite(program);
  program.commandsGroup('Fleet:');
  addToken(program);
  addDevices(program);
  addRevoke(program);
  program.commandsGroup('Keys:');
  addKeygen(program);
  addRotate(program);
  addSign(program);
  addJoin(program);
  addSync(program);
  program.addHelpText('after', `
A first release, end to end:
  shoal init --home fleet
  shoal publish rootfs.img --name os --version 1 --home fleet
  shoal origin --home fleet
  shoal fetch os --origin http://127.0.0.1:8470 --trust fleet/trust/root.json -o new.img

"shoal COMMAND --help" has the options and examples of each.`);
  return program;
}

/** Runs one command line, and returns its exit code. What it has to say it has said. */
export async function runProgram(args: readonly string[]): Promise<number> {
  const before = process.exitCode;
  process.exitCode = undefined;
  try {
    await makeProgram().parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has printed its message already; its own errors are wrong usage, except help asked for.
    const { exitCode } = error as { readonly exitCode?: number };
    if (exitCode === undefined) return report(error, args.includes('--json'));
    return exitCode === 0 ? 0 : 2;
  } finally {
    process.exitCode = before;
  }
}
