import type { ReleaseManifest } from '../../core/manifest.ts';
import type { DeviceProfile } from '../types.ts';
import { unfit } from './refusals.ts';

export interface Device {
  readonly profile: DeviceProfile;
  /** The highest sequence of this product that was ever accepted. */
  readonly highWater: number;
  /** The sequence that runs now. */
  readonly installed: number;
}

/** Says whether a genuine release is for this device; throws the refusal when it is not. */
export function checkFit(manifest: ReleaseManifest, { profile, highWater, installed }: Device): void {
  const { product, version, sequence } = manifest;
  const ids = { product, version };
  const unknown = manifest.requiredFeatures.filter((feature) => !profile.features.includes(feature));
  if (unknown.length > 0) throw unfit('UNKNOWN_FEATURE', `${product} ${version} needs ${unknown.join(', ')}, which this agent does not have`, ids, 'Update the agent first.');
  if (manifest.hardware.length > 0 && !manifest.hardware.some((id) => profile.hardware.includes(id))) {
    const own = profile.hardware.length === 0 ? 'of unknown hardware' : profile.hardware.join(', ');
    throw unfit('WRONG_HARDWARE', `${product} ${version} is for ${manifest.hardware.slice(0, 8).join(', ')}; this device is ${own}`, ids, 'Name the hardware with --hardware if it is missing.');
  }
  if (sequence < highWater) {
    throw unfit('SEQUENCE_ROLLBACK', `${product} ${version} has sequence ${String(sequence)}; this device has already accepted ${String(highWater)} and does not go back`, ids);
  }
  if (installed < manifest.minimumSource) {
    throw unfit('SOURCE_TOO_OLD', `${product} ${version} can be installed from sequence ${String(manifest.minimumSource)} on; this device runs ${String(installed)}`, ids, 'Install a release in between first.');
  }
}
