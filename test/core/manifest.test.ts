import { describe, expect, it } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import { checkManifest, decodeManifest, encodeManifest } from '../../src/core/manifest.ts';

const artifact = {
  name: 'rootfs.img',
  role: 'image',
  root: 'ab'.repeat(32),
  size: 1234,
  sha256: 'cd'.repeat(32),
  chunking: { algorithm: 'gear1', min: 16384, avg: 65536, max: 262144 },
};
const manifest = {
  format: 1,
  namespace: 'default',
  product: 'app',
  version: '1.2.3',
  sequence: 7,
  minimumSource: 3,
  artifacts: [artifact, { ...artifact, name: 'boot.img', role: 'bootloader' }],
  hardware: ['board-a'],
  requiredFeatures: [],
};

/** The code and the field an altered manifest is refused for. */
function refusal(change: Readonly<Record<string, unknown>>): string {
  try {
    checkManifest({ ...manifest, ...change });
  } catch (error) {
    if (isShoalError(error)) return `${error.code} ${String(error.ids['field'] ?? '')}`.trim();
    throw error;
  }
  return 'accepted';
}

describe('release manifest', () => {
  it('survives encoding', () => {
    expect(decodeManifest(encodeManifest(checkManifest(manifest)))).toEqual(manifest);
  });

  it.each([
    ['a later format', { format: 2 }, 'MANIFEST_FORMAT'],
    ['no format', { format: undefined }, 'BAD_MANIFEST manifest.format'],
    ['an unknown field', { colour: 'red' }, 'BAD_MANIFEST manifest.colour'],
    ['a product that is a path', { product: '../app' }, 'BAD_MANIFEST manifest.product'],
    ['sequence zero', { sequence: 0 }, 'BAD_MANIFEST manifest.sequence'],
    ['a fractional sequence', { sequence: 1.5 }, 'BAD_MANIFEST manifest.sequence'],
    ['a sequence beyond exact integers', { sequence: 2 ** 60 }, 'BAD_MANIFEST manifest.sequence'],
    ['a minimum source above itself', { minimumSource: 8 }, 'BAD_MANIFEST manifest.minimumSource'],
    ['no artifacts', { artifacts: [] }, 'BAD_MANIFEST manifest.artifacts'],
    ['two artifacts of one name', { artifacts: [artifact, artifact] }, 'BAD_MANIFEST manifest.artifacts'],
    ['a negative size', { artifacts: [{ ...artifact, size: -1 }] }, 'BAD_MANIFEST manifest.artifacts[0].size'],
    ['a size beyond the limit', { artifacts: [{ ...artifact, size: 2 ** 52 }] }, 'BAD_MANIFEST manifest.artifacts[0].size'],
    ['an upper-case root', { artifacts: [{ ...artifact, root: 'AB'.repeat(32) }] }, 'BAD_MANIFEST manifest.artifacts[0].root'],
    ['chunking out of order', { artifacts: [{ ...artifact, chunking: { algorithm: 'x', min: 65536, avg: 16384, max: 262144 } }] }, 'BAD_MANIFEST manifest.artifacts[0].chunking.avg'],
    ['hardware that repeats', { hardware: ['a', 'a'] }, 'BAD_MANIFEST manifest.hardware'],
    ['hardware that is no list', { hardware: 'a' }, 'BAD_MANIFEST manifest.hardware'],
  ])('refuses %s', (_what, change, expected) => {
    expect(refusal(change)).toBe(expected);
  });

  it('refuses what is not JSON, not UTF-8, not an object, or too long', () => {
    const texts = [Buffer.from('{'), Buffer.from([0xff, 0xfe]), Buffer.from('[]'), Buffer.from('null'), Buffer.alloc(300_000, 32)];
    for (const bytes of texts) expect(() => decodeManifest(bytes)).toThrow(expect.objectContaining({ code: 'BAD_MANIFEST' }) as Error);
  });

  it('does not let a prototype key in', () => {
    expect(() => decodeManifest(Buffer.from(JSON.stringify(manifest).replace('{', '{"__proto__":{"x":1},')))).toThrow('manifest.__proto__');
  });
});
