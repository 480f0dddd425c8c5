import { RunningReleases } from '../publish/running.ts';
import { liveReleases } from '../publish/upkeep.ts';
import { trustHome } from '../trust/repository/home.ts';

export interface RunRelease {
  readonly product: string;
  readonly sequence: number;
  /** Undefined when the release is not on offer any more. */
  readonly version: string | undefined;
}

export interface ReleasesRun {
  /** By product; the release that most devices run first. */
  readonly counts: readonly (RunRelease & { readonly devices: number })[];
  /** What one device said, and when: milliseconds since the epoch. */
  ofDevice(device: string): readonly (RunRelease & { readonly seen: number })[];
}

/** What devices said that they run, at the server of `directory`. Throws `NO_HOME`, `NOT_A_SERVER`, `HOME_DAMAGED`, `RUNS`. */
export async function releasesRun(directory: string): Promise<ReleasesRun> {
  const home = trustHome(directory);
  const versions = new Map((await liveReleases(home)).map(({ product, sequence, version }) => [`${product} ${String(sequence)}`, version]));
  const running = RunningReleases.open(home.directory);
  try {
    const named = <T extends { readonly product: string; readonly sequence: number }>(run: T): T & RunRelease => ({ ...run, version: versions.get(`${run.product} ${String(run.sequence)}`) });
    const byDevice = Map.groupBy(running.all(), ({ device }) => device);
    return {
      counts: running.counts(home.now().getTime()).map(named),
      ofDevice: (device) => (byDevice.get(device) ?? []).map(({ product, sequence, seen }) => named({ product, sequence, seen })),
    };
  } finally {
    running.close();
  }
}
