import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Ledger } from '../exchange/ledger.ts';
import type { Evidence } from '../exchange/standing.ts';
import { formatBytes, say } from './output.ts';

/** Where a device keeps its state when it was not told: one place per fleet, for the same products under other keys are other products. */
export function defaultState(trustedRoot: Uint8Array): string {
  const fleet = createHash('sha256').update(trustedRoot).digest('hex').slice(0, 16);
  return join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'shoal', fleet);
}

/** For slots that a device boots from. */
export function withFromMedium(command: Command): Command {
  return command.option('--from-medium', 'prove what was written by reading it from the medium itself, past the memory of the system (Linux, native\nkernel): for what a device boots from; takes as long as reading all of it once more');
}

export function sayLie({ source, code, message }: Evidence): void {
  say(`shoal: ${source} sent wrong bytes and is not asked again (${code}: ${message})`);
}

/** The sources that gave anything, for people. */
export function ledgerText(ledger: Ledger): string {
  const sources = (['local', 'delta', 'peer', 'gateway', 'origin', 'torrent', 'control'] as const).filter((name) => ledger[name] > 0).map((name) => `${name} ${formatBytes(ledger[name])}`);
  return `${sources.join(', ')}, ${ledger.seconds.toFixed(1)} s`;
}

/** The artifacts of a release and where they are, for `--json`. */
export function artifactsJson(artifacts: readonly { readonly name: string; readonly root: string; readonly size: number; readonly sha256: string }[], paths: readonly string[]): unknown {
  return artifacts.map(({ name, root, size, sha256 }, index) => ({ name, root, size, sha256, path: paths[index] }));
}
