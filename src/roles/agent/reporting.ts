import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isName } from '../../core/names.ts';
import { formatRuns } from '../../core/runs.ts';
import type { RunsReport } from '../../core/runs.ts';
import { HEADER_RUNS, wire } from '../../core/wire.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import { readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';

const TIMESTAMP = `${wire.metadata}/timestamp.json`;

/** A host that is told, with every question for news, what this device runs. */
export function reportingTo(upstream: Upstream, report: () => RunsReport): Upstream {
  return {
    url: upstream.url,
    get totals() {
      return upstream.totals;
    },
    get: (plane, path, maxBytes, headers, signal) => {
      const said = path === TIMESTAMP ? report() : undefined;
      const more = said === undefined || said.runs.length === 0 ? {} : { [HEADER_RUNS]: formatRuns(said) };
      return upstream.get(plane, path, maxBytes, { ...headers, ...more }, signal);
    },
    receive: (path, target, options) => upstream.receive(path, target, options),
    put: (path, json, signal) => upstream.put(path, json, signal),
    close: () => upstream.close(),
  };
}

const REPORTER_MAX_BYTES = 256;

/** A random name that stays with a device's state, for where no certificate says who it is. */
export async function reporterIn(files: Files, directory: string): Promise<string> {
  const path = join(directory, 'reporter');
  const known = Buffer.from((await readWhole(files, path, REPORTER_MAX_BYTES).catch(() => undefined)) ?? []).toString('utf8').trim();
  if (isName(known)) return known;
  const made = randomBytes(16).toString('hex');
  await writeDurably(files, path, Buffer.from(`${made}\n`));
  return made;
}
