import { readFile } from 'node:fs/promises';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import type { DhtWay } from '../roles/discover.ts';
import { unreadable } from '../store/files.ts';
import { parseListen } from './values.ts';
import { tokensIn } from './upload.ts';

export interface DhtFlags {
  readonly dht?: { readonly host: string; readonly port: number };
  readonly dhtSecret?: string;
  readonly dhtNode?: readonly string[];
}

function parseNode(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[A-Za-z0-9.-]+:\d{1,5}$/.test(text)) throw new InvalidArgumentError('give HOST:PORT, for example origin.example:8474');
  return [...before, text];
}

/** The options of the fleet's own hash table. */
export function withDht(command: Command): Command {
  return command
    .option('--dht <host:port>', 'find hosts of the site by the fleet\'s own distributed hash table, at this UDP address (off by default)', parseListen)
    .option('--dht-secret <file>', 'the secret that all hosts of the fleet share for it')
    .option('--dht-node <host:port...>', 'hosts of the fleet to begin with', parseNode);
}

/** `make`: makes the secret where there is none. */
export async function dhtOf({ dht, dhtSecret: path, dhtNode = [] }: DhtFlags, make = false): Promise<{ readonly dht?: DhtWay }> {
  if (dht === undefined) {
    if (path !== undefined || dhtNode.length > 0) throw new ShoalError('BAD_USAGE', '--dht-secret and --dht-node belong to --dht HOST:PORT');
    return {};
  }
  if (path === undefined) throw new ShoalError('BAD_USAGE', '--dht needs --dht-secret FILE: without a secret anybody could take part');
  if (make) await tokensIn(path, 'A secret for the hash table was made; every host of the fleet that takes part needs it');
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw unreadable(cause, path, 'the secret');
  });
  const { dhtSecret } = await import('../roles/discover.ts');
  return { dht: { listen: dht, secret: dhtSecret(text), nodes: dhtNode } };
}
