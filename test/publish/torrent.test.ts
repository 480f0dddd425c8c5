import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { describeTorrent, infoHashOf, makeTorrentInfo, pieceLength, torrentFile } from '../../src/publish/torrent.ts';
import type { TorrentPart } from '../../src/publish/torrent.ts';
import { randomBytes } from '../support/random.ts';

const KiB = 1024;

/** A part whose pieces lie in memory that the reader uses again, as those of a store do. */
function part(name: string, bytes: Uint8Array, piece: number): TorrentPart {
  const open = async function* (): AsyncGenerator<Uint8Array> {
    const memory = new Uint8Array(piece);
    for (let at = 0; at < bytes.byteLength; at += piece) {
      const slice = bytes.subarray(at, at + piece);
      memory.set(slice);
      yield memory.subarray(0, slice.byteLength);
      await Promise.resolve();
      memory.fill(0);
    }
  };
  return { name, size: bytes.byteLength, open };
}

/** BEP 3: SHA-1 of each piece of all files put together. */
function piecesOf(bytes: Uint8Array, length: number): Buffer {
  const hashes = [];
  for (let at = 0; at < bytes.byteLength; at += length) hashes.push(createHash('sha1').update(bytes.subarray(at, at + length)).digest());
  return Buffer.concat(hashes);
}

describe('a torrent', () => {
  it('hashes pieces of BEP 3 over one file and over several, whatever sizes they are read in', async () => {
    const one = randomBytes(600_001);
    const two = randomBytes(300_000);
    for (const piece of [1_000, 70_000, 1_000_000]) {
      const single = await makeTorrentInfo('image', [part('image', one, piece)]);
      expect(Buffer.from(single).includes(piecesOf(one, 256 * KiB))).toBe(true);
      expect(Buffer.from(single).toString('latin1')).toMatch(/^d6:lengthi600001e4:name5:image12:piece lengthi262144e6:pieces60:/);
      const several = await makeTorrentInfo('os-1', [part('image', one, piece), part('boot', two, piece)]);
      expect(Buffer.from(several).includes(piecesOf(Buffer.concat([one, two]), 256 * KiB))).toBe(true);
    }
  });

  it('is the same info dictionary wherever it lies, and says so when it is read', async () => {
    const bytes = randomBytes(100_000);
    const info = await makeTorrentInfo('image', [part('image', bytes, 64_000)]);
    const file = await torrentFile(info, { webSeeds: ['http://a/x'], trackers: ['http://a/announce', 'udp://b:1'], comment: 'os 1' });
    const bare = await torrentFile(info, {});
    expect(await describeTorrent(file)).toEqual({
      name: 'image', infoHash: infoHashOf(info), pieceLength: 256 * KiB, pieces: 1, private: true,
      files: [{ path: 'image', size: 100_000 }], webSeeds: ['http://a/x'], trackers: ['http://a/announce', 'udp://b:1'],
    });
    expect(await describeTorrent(bare)).toMatchObject({ infoHash: infoHashOf(info), webSeeds: [], trackers: [] });
  });

  it('has some thousand pieces, and never far too many', () => {
    for (const [bytes, wanted] of [[1, 256], [256 * 2 ** 20, 256], [1e9, 1024], [10e9, 4096], [2 ** 37, 4096], [2 ** 40, 32_768]] as const) {
      expect(pieceLength(bytes) / KiB, String(bytes)).toBe(wanted);
    }
  });

  it('is refused for nothing at all, for a file that is not as long as it was said, and when it is called off', async () => {
    await expect(makeTorrentInfo('x', [part('x', new Uint8Array(), 10)])).rejects.toMatchObject({ code: 'NO_TORRENT' });
    await expect(makeTorrentInfo('x', [{ ...part('x', new Uint8Array(10), 10), size: 11 }])).rejects.toMatchObject({ code: 'WRONG_LENGTH' });
    await expect(makeTorrentInfo('x', [part('x', randomBytes(10), 10)], { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  it('is read with care: what is none is told to be none', async () => {
    const good = await torrentFile(await makeTorrentInfo('image', [part('image', randomBytes(1_000), 1_000)]), {});
    const bad = ['', 'd', 'de', 'd4:infode', 'i5e', 'l', 'd4:infod4:name1:x12:piece lengthi-1e6:pieces0:ee', 'd4:infod4:name1:x6:pieces3:abcee', '99999999999999:x'];
    for (const text of bad) await expect(describeTorrent(Buffer.from(text)), text).rejects.toMatchObject({ code: 'BAD_TORRENT' });
    await expect(describeTorrent(Buffer.alloc(1_000_000, 'l'))).rejects.toMatchObject({ code: 'BAD_TORRENT' });
    for (let at = 0; at < good.byteLength; at++) {
      const cut = describeTorrent(good.subarray(0, at));
      await expect(cut, String(at)).rejects.toMatchObject({ code: 'BAD_TORRENT' });
    }
  });
});
