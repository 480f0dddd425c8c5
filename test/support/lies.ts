import type { Lie } from './hostile-server.ts';

/** A lie about bodies, and what a device must call it. Undefined: not proof of a lie, so the host is only left alone for a while. */
export interface Lying {
  readonly code: RegExp | undefined;
  readonly lie: Lie;
}

const KiB = 1024;
const PIECE = Buffer.alloc(64 * KiB, 'shoal');

/** A zstd frame of run-length blocks: four bytes for every 128 KiB that come out (RFC 8878, 3.1.1.2). */
export function zstdBomb(outBytes: number, claim: number | undefined): Buffer {
  const blocks = Math.ceil(outBytes / (128 * KiB));
  const frame = Buffer.alloc((claim === undefined ? 6 : 13) + blocks * 4);
  frame.writeUInt32LE(0xfd2fb528, 0);
  let at = 5;
  if (claim === undefined) {
    // No content size, a window of 8 MiB.
    frame.writeUInt8(0, 4);
    frame.writeUInt8(13 << 3, at++);
  } else {
    // Single segment, eight bytes of content size.
    frame.writeUInt8(0xe0, 4);
    frame.writeBigUInt64LE(BigInt(claim), at);
    at += 8;
  }
  for (let block = 0; block < blocks; block++) {
    frame.writeUIntLE(((128 * KiB) << 3) | (1 << 1) | (block === blocks - 1 ? 1 : 0), at, 3);
    at += 4;
  }
  return frame;
}

/** A frame that asks for a window of 3.75 TiB (window descriptor 0xff). */
function hugeWindow(): Buffer {
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff]), Buffer.from([0x03, 0x00, 0x10, 0x00])]);
}

const flipped = (body: Buffer): Buffer => {
  const copy = Buffer.from(body);
  copy[copy.byteLength >> 1] = (copy[copy.byteLength >> 1] ?? 0) ^ 1;
  return copy;
};

const GiB = 1024 * 1024 * KiB;

/** Everything a host can do to an answer whose bytes are fixed by a hash that the device knows. */
export const LIES: Readonly<Record<string, Lying>> = {
  'flips a bit': { code: /^(CHUNK|PAGE)_MISMATCH$|^ZSTD_CORRUPT$/, lie: async (_, honest, wire) => { const { headers, body } = await honest(); wire.answer(200, { 'content-encoding': headers['content-encoding'] }, flipped(body)); return true; } },
  'sends less and says so': { code: /^HTTP_BODY$|^PAGE_MISMATCH$|^ZSTD_CORRUPT$/, lie: async (_, honest, wire) => { const { headers, body } = await honest(); wire.answer(200, { 'content-encoding': headers['content-encoding'] }, body.subarray(0, -1)); return true; } },
  'sends nothing': { code: /^HTTP_BODY$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, {}, Buffer.alloc(0)); return true; } },
  'hangs up in the middle': { code: undefined, lie: async (_, honest, wire) => { const { body } = await honest(); wire.answer(200, { 'content-length': body.byteLength }, body.subarray(0, body.byteLength >> 1)); wire.socket.end(); return true; } },
  'never stops, in chunks': {
    code: /^HTTP_TOO_LARGE$/,
    // What was asked for comes first, so that it is the length alone that is wrong.
    lie: async (_, honest, wire) => {
      const { headers, body } = await honest();
      const coding = headers['content-encoding'];
      wire.raw(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n${coding === undefined ? '' : `content-encoding: ${String(coding)}\r\n`}\r\n`);
      const piece = (bytes: Uint8Array): Buffer => Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
      const [first, more] = [piece(body), piece(PIECE)];
      let sent = false;
      wire.endless(() => {
        const next = sent ? more : first;
        sent = true;
        return next;
      });
      return true;
    },
  },
  // Whichever is seen first: that a chunk is wrong, or that there is too much.
  'never stops, in wrong chunks': { code: /^HTTP_TOO_LARGE$|^CHUNK_MISMATCH$/, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'); const piece = Buffer.concat([Buffer.from(`${PIECE.byteLength.toString(16)}\r\n`), PIECE, Buffer.from('\r\n')]); wire.endless(() => piece); return true; } },
  'promises a terabyte': { code: /^HTTP_TOO_LARGE$/, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n'); wire.endless(() => PIECE); return true; } },
  'never stops, without a length': { code: undefined, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\n\r\n'); wire.endless(() => PIECE); return true; } },
  'sends more than its length': { code: undefined, lie: async (_, honest, wire) => { const { headers, body } = await honest(); wire.answer(200, { 'content-encoding': headers['content-encoding'], 'content-length': body.byteLength }, Buffer.concat([body, PIECE, PIECE])); return true; } },
  'sends other bytes of the right length': { code: /^(CHUNK|PAGE)_MISMATCH$|^ZSTD_CORRUPT$/, lie: async (_, honest, wire) => { const { headers, body } = await honest(); wire.answer(200, { 'content-encoding': headers['content-encoding'] }, Buffer.alloc(body.byteLength, 7)); return true; } },
  'sends the chunks in another order': { code: /^(CHUNK|PAGE)_MISMATCH$|^ZSTD_CORRUPT$/, lie: async (_, honest, wire) => { const { headers, body } = await honest(); wire.answer(200, { 'content-encoding': headers['content-encoding'] }, Buffer.concat([body.subarray(body.byteLength >> 1), body.subarray(0, body.byteLength >> 1)])); return true; } },
  // Even packed, these are 131 kB: more than the last span of an artifact may have.
  'sends a bomb that says what it is': { code: /^ZSTD_|^HTTP_BODY$|^HTTP_TOO_LARGE$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, { 'content-encoding': 'zstd' }, zstdBomb(4 * GiB, 4 * GiB)); return true; } },
  'sends a bomb that says nothing': { code: /^ZSTD_|^HTTP_BODY$|^HTTP_TOO_LARGE$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, { 'content-encoding': 'zstd' }, zstdBomb(4 * GiB, undefined)); return true; } },
  'sends a bomb that says it is small': { code: /^ZSTD_|^HTTP_BODY$|^HTTP_TOO_LARGE$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, { 'content-encoding': 'zstd' }, zstdBomb(4 * GiB, 65_536)); return true; } },
  'asks for a window of terabytes': { code: /^ZSTD_|^HTTP_BODY$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, { 'content-encoding': 'zstd' }, hugeWindow()); return true; } },
  'names a coding nobody asked for': { code: /^HTTP_BODY$|^PAGE_MISMATCH$/, lie: (_, __, wire) => { wire.answer(200, { 'content-encoding': 'br' }, PIECE.subarray(0, 1000)); return true; } },
  'gives two lengths': { code: undefined, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!'); return true; } },
  'gives a length and chunks': { code: undefined, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'); return true; } },
  'gives a length below nothing': { code: undefined, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'); return true; } },
  'sends a header of a megabyte': { code: undefined, lie: (_, __, wire) => { wire.raw(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(1024 * KiB)}\r\n\r\n`); return true; } },
  'sends headers without end': { code: undefined, lie: (_, __, wire) => { wire.raw('HTTP/1.1 200 OK\r\n'); const line = Buffer.from('x: y\r\n'.repeat(1000)); wire.endless(() => line); return true; } },
  'promises answers without end': { code: undefined, lie: (_, __, wire) => { const line = Buffer.from('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)); wire.endless(() => line); return true; } },
  'speaks something else': { code: undefined, lie: (_, __, wire) => { wire.raw('SSH-2.0-OpenSSH_9.2\r\n\r\n'); return true; } },
  'redirects to the honest host': { code: undefined, lie: (_, __, wire) => { wire.answer(302, { location: 'http://127.0.0.1:1/' }, Buffer.alloc(0)); return true; } },
  'redirects to a file': { code: undefined, lie: (_, __, wire) => { wire.answer(301, { location: 'file:///etc/passwd' }, Buffer.alloc(0)); return true; } },
  'always fails': { code: undefined, lie: (_, __, wire) => { wire.answer(500, {}, PIECE); return true; } },
  'asks to come back in a year': { code: undefined, lie: (_, __, wire) => { wire.answer(503, { 'retry-after': '31536000' }, Buffer.from('{}')); return true; } },
  'hangs up at once': { code: undefined, lie: (_, __, wire) => { wire.socket.destroy(); return true; } },
};

/** What costs time instead of bytes. */
export const SLOW_LIES: Readonly<Record<string, Lie>> = {
  'says nothing': () => true,
  'drips its head': (_, __, wire) => { wire.drip(Buffer.from(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(10_000)}`), 1_500); return true; },
  'drips its body': async (_, honest, wire) => { const { body } = await honest(); wire.raw(`HTTP/1.1 200 OK\r\ncontent-length: ${String(body.byteLength)}\r\n\r\n`); wire.drip(body, 1_500); return true; },
  'sends half and waits': async (_, honest, wire) => { const { body } = await honest(); wire.raw(`HTTP/1.1 200 OK\r\ncontent-length: ${String(body.byteLength)}\r\n\r\n`); wire.raw(body.subarray(0, body.byteLength >> 1)); return true; },
};
