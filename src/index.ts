/**
 * Shoal's public entry: everything a program that embeds it may rely on, and nothing else. Errors are `ShoalError`s with a
 * stable `code`. Sizes are bytes, times milliseconds, unless their names say otherwise.
 *
 * @example
 * import { fetchRelease } from 'shoal';
 * const { manifest, paths } = await fetchRelease({ product: 'os', origin, trustedRoot, state: '/var/lib/shoal', output: 'os.img' });
 */
export { ShoalError, type Retry, type ErrorDetails, type ErrorIds, isShoalError } from './core/errors.ts';
export { type Clock, systemClock } from './core/clock.ts';
export type { ObjectId } from './core/ids.ts';
export type { ContentKey } from './core/wire.ts';
export { type ArtifactRecord, type ChunkingRecord, type ReleaseManifest, decodeManifest } from './core/manifest.ts';
export { type Tier, type Tiers, tiers } from './kernel/tiers.ts';

/** Devices. */
export { type FetchOptions, type FetchReport, fetchRelease } from './roles/fetch.ts';
export { startAgent } from './roles/agent/agent.ts';
export type { Agent, AgentEvent, AgentLedger, AgentOptions, FollowedProduct } from './roles/agent/types.ts';
export type { Ledger } from './exchange/ledger.ts';
export type { Evidence } from './exchange/standing.ts';

/** Identity. */
export { type EnrolDeviceOptions, enrol, makeFleet, openFleet, renew } from './roles/fleet.ts';
export { Credentials } from './identity/credentials.ts';
export { Fleet } from './identity/fleet.ts';
export type { FleetRole, Holder } from './identity/holder.ts';

/** Publishing. */
export { type InitOptions, type InitReport, initHome } from './trust/repository/init.ts';
export { type HomeConfig, type TrustHome, trustHome } from './trust/repository/home.ts';
export { type ReleaseDeltasOptions, type WishedDeltas, releaseDeltas, removeDeltas } from './roles/deltas.ts';
export type { DeltaOutcome } from './publish/deltas.ts';
export { type AcceptFilesReport, type PublishFilesOptions, type PublishFilesReport, acceptStaging, publishFiles } from './roles/publish.ts';
export { type UploadReleaseOptions, uploadRelease } from './roles/upload.ts';
export type { UploadReport } from './exchange/upload.ts';
export { type ReleaseTorrent, type ReleaseTorrentOptions, releaseTorrent } from './roles/torrent.ts';

/** Servers. */
export { type HomeOrigin, type HomeOriginOptions, startHomeOrigin } from './roles/home-origin.ts';
export { type Origin, type OriginLedger, type OriginOptions, startOrigin } from './roles/origin.ts';
export { type Gateway, type GatewayLedger, type GatewayOptions, startGateway } from './roles/gateway.ts';
export { type PackOptions, PackStore } from './store/pack/store.ts';
export { type PackCacheOptions, PackCache } from './store/pack/cache.ts';
export { MemoryStore } from './store/memory.ts';
export { CachingReader } from './store/wrap/caching.ts';
export { LimitedReader } from './store/wrap/limited.ts';
export { SharedReader } from './store/wrap/shared.ts';
export type { CacheStore, GcReport, PrunableStore, StoredArtifact, VerifyReport } from './store/types.ts';
export { RepositoryFiles } from './trust/repository/files.ts';
export { type HomeVerifyReport, type UpkeepReport, collectHome, verifyHome } from './publish/upkeep.ts';

/** Trust alone, for a device with a download way of its own. */
export { type TufClientOptions, TufClient } from './trust/client/client.ts';
export type { DeltaOffer, DeviceProfile, MetadataFetcher, TrustClient, TrustedRelease } from './trust/types.ts';
export { UpstreamMetadata } from './exchange/upstream-metadata.ts';
export { HttpUpstream } from './exchange/upstream.ts';

/** The delta engine alone, on files. */
export { type DeltaDescription, type DiffOptions, type DiffReport, type PatchReport, bsdiffFiles, describeDelta, diffFiles, patchFile } from './roles/delta-files.ts';
export type { DeltaManifest, DeltaSegment } from './delta/manifest.ts';
