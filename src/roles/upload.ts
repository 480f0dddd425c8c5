import type { Clock } from '../core/clock.ts';
import { uploadStaging } from '../exchange/upload.ts';
import type { UploadReport } from '../exchange/upload.ts';
import { toOriginOf } from '../identity/tls.ts';
import { stagedStore } from '../publish/release.ts';
import { nodeFiles } from '../store/files.ts';
import { PackStore } from '../store/pack/store.ts';
import { stagedFiles } from '../trust/repository/staging.ts';
import { checkHost } from './plain-http.ts';

export interface UploadReleaseOptions {
  /** The staging directory. */
  readonly staging: string;
  readonly origin: string;
  /** Bearer token of the origin. */
  readonly token: string;
  /** The fleet's CA, PEM, for an origin that speaks TLS with the fleet's certificates. */
  readonly ca?: string;
  /** Sends the token over plain HTTP outside this machine. */
  readonly insecureHttp?: boolean;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** Has the releases shown to devices at once; their deltas follow. */
  readonly deltasLater?: boolean;
  /** Told now and then that everything has arrived and deltas are being made. */
  readonly onDeltas?: () => void;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Brings a staging directory, metadata and content, to an origin and has it published there. */
export async function uploadRelease({ staging, origin, ca, insecureHttp, ...options }: UploadReleaseOptions): Promise<UploadReport> {
  checkHost(origin, insecureHttp);
  const files = await stagedFiles({ files: nodeFiles }, staging);
  const content = (await nodeFiles.stat(stagedStore(staging))) === undefined ? undefined : await PackStore.open(stagedStore(staging));
  try {
    return await uploadStaging({ ...options, ...(ca === undefined ? {} : { tls: toOriginOf(ca) }), url: origin, files, ...(content === undefined ? {} : { content }) });
  } finally {
    await content?.close();
  }
}
