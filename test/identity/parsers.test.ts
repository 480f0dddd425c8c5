import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import { isName } from '../../src/core/names.ts';
import { Allowance, networkOf } from '../../src/identity/allowance.ts';
import { certificatesIn } from '../../src/identity/certificates.ts';
import { FLEET_ROLES, holderOf, mayHave, urisOf } from '../../src/identity/holder.ts';
import type { Holder } from '../../src/identity/holder.ts';
import { deviceIdOf, isSigned, newKeyPair, publicKeyFrom, spkiOf, statement } from '../../src/identity/key.ts';
import { parseGrant } from '../../src/identity/messages.ts';
import { decodeRevocations } from '../../src/identity/revocations.ts';
import { formatToken, hashOfSecret, newToken, parseToken, pinOf } from '../../src/identity/token.ts';
import { fc } from '../support/property.ts';

const hex = (length: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,40}$/).filter(isName);
const holder: fc.Arbitrary<Holder> = fc.record({
  fleet: hex(16),
  role: fc.constantFrom(...FLEET_ROLES),
  device: hex(32),
  site: fc.option(name, { nil: undefined }),
  products: fc.oneof(fc.constant('all' as const), fc.uniqueArray(name, { maxLength: 8 })),
});

describe('names in certificates', () => {
  it('say all of a holder in private and nothing but who in public', () => {
    fc.assert(fc.property(holder, (whose) => {
      const text = (uris: readonly string[]): string => ['DNS:origin.example', ...uris.map((uri) => `URI:${uri}`), 'IP Address:10.0.0.1'].join(', ');
      expect(holderOf(text(urisOf(whose, 'private')))).toEqual(whose);
      expect(holderOf(text(urisOf(whose, 'public')))).toEqual({ ...whose, site: undefined, products: [] });
    }));
  });

  it('are refused whole when one of them is strange', () => {
    const who = `URI:shoal://${'a'.repeat(16)}/agent/${'b'.repeat(32)}`;
    expect(holderOf(who)).toBeDefined();
    for (const strange of ['URI:shoal:product:', 'URI:shoal:product:../x', 'URI:shoal:site:a b', 'URI:https://example.org/', 'URI:"shoal:site:a"', 'email:a@b', 'othername:<unsupported>', 'URI:shoal:admin', who, 'URI:shoal:product:os\u0000']) {
      expect([strange, holderOf(`${who}, ${strange}`)]).toEqual([strange, undefined]);
    }
    for (const none of [undefined, '', 'URI:shoal:site:x', `URI:shoal://${'A'.repeat(16)}/agent/${'b'.repeat(32)}`, `URI:shoal://${'a'.repeat(16)}/root/${'b'.repeat(32)}`]) expect(holderOf(none)).toBeUndefined();
    expect(holderOf(`${who}, URI:shoal:site:a, URI:shoal:site:b`)).toBeUndefined();
  });

  it('are never misread from anything', () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => {
      const found = holderOf(text);
      if (found !== undefined) expect(text).toContain(found.device);
    }));
  });

  it('say what a holder may have', () => {
    const whose = { fleet: '', role: 'agent', device: '', site: undefined } as const;
    expect([mayHave({ ...whose, products: ['os'] }, ['maps', 'os']), mayHave({ ...whose, products: 'all' }, []), mayHave({ ...whose, products: ['os'] }, ['maps']), mayHave({ ...whose, products: ['os'] }, [])]).toEqual([true, true, false, false]);
  });
});

describe('tokens', () => {
  it('come back as they were made, and only then', () => {
    const token = newToken(pinOf(Buffer.from('a CA')));
    expect(parseToken(` ${formatToken(token)}\n`)).toEqual(token);
    fc.assert(fc.property(fc.string({ maxLength: 120 }), (text) => {
      expect(() => parseToken(`${formatToken(token)}${text.trim() === '' ? 'x' : text}`)).toThrow(expect.objectContaining({ code: 'BAD_TOKEN' }));
    }));
    // No error message repeats a secret.
    try {
      parseToken(`${formatToken(token)}.`);
    } catch (error) {
      expect(String(error)).not.toContain(token.secret);
    }
    expect(hashOfSecret(token.secret)).toMatch(/^[0-9a-f]{64}$/);
    expect(hashOfSecret(newToken(token.pin).secret)).not.toBe(hashOfSecret(token.secret));
  });
});

describe('keys', () => {
  it('from outside are P-256 in one form, or nothing', () => {
    const spki = spkiOf(newKeyPair().publicKey);
    expect(spkiOf(publicKeyFrom(spki))).toEqual(spki);
    expect(deviceIdOf(spki)).toMatch(/^[0-9a-f]{32}$/);
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.nat(spki.length - 1).chain((at) => fc.integer({ min: 1, max: 255 }).map((flip) => spki.map((byte, index) => (index === at ? byte ^ flip : byte))))), (bytes) => {
      try {
        expect(spkiOf(publicKeyFrom(bytes))).toEqual(Buffer.from(bytes));
      } catch (error) {
        expect(isShoalError(error, 'BAD_KEY')).toBe(true);
      }
    }));
  });

  it('sign statements that mean one thing', () => {
    expect(Buffer.from(statement('renew', 'ab', 'c'))).not.toEqual(Buffer.from(statement('renew', 'a', 'bc')));
    expect(Buffer.from(statement('renew', 'a'))).not.toEqual(Buffer.from(statement('enroll', 'a')));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (signature) => {
      expect(isSigned(newKeyPair().publicKey, Buffer.from('x'), signature)).toBe(false);
    }), { numRuns: 20 });
  });
});

describe('what comes over the wire', () => {
  it('is refused by name when it is not what it should be', () => {
    const refused = (code: string, read: () => unknown): void => {
      expect(read).toThrow(expect.objectContaining({ code }));
    };
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map((text) => Buffer.from(text))), (bytes) => {
      refused('BAD_GRANT', () => parseGrant(bytes));
      refused('BAD_REVOCATIONS', () => decodeRevocations(bytes, 'a'.repeat(16), []));
      refused('BAD_CERTIFICATE', () => certificatesIn(Buffer.from(bytes).toString('latin1')));
    }));
    refused('BAD_CERTIFICATE', () => certificatesIn('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'));
    expect(() => new X509Certificate('x')).toThrow();
  });

  it('is bounded by name of the network', () => {
    expect(['10.0.0.1', '::ffff:10.0.0.1', '2001:db8:0:1::5', '2001:db8:0:1:ffff::', '::1', 'fe80::1%eth0', '2001:0db8:0000:0001:0:0:0:9'].map(networkOf)).toEqual(
      ['10.0.0.1', '10.0.0.1', '2001:db8:0:1', '2001:db8:0:1', '0:0:0:0', 'fe80:0:0:0', '2001:db8:0:1']);
    let now = 0;
    const allowance = new Allowance(3, 1, () => now, 2);
    const takes = (who: string, times: number): number => Array.from({ length: times }, () => allowance.take(who)).filter(Boolean).length;
    expect(takes('a', 10)).toBe(3);
    expect(allowance.left('a')).toBe(false);
    now = 2_000;
    expect(takes('a', 10)).toBe(2);
    expect(takes('b', 1)).toBe(1);
    // Two names are kept: the third pushes out the one used longest ago.
    expect(takes('c', 1)).toBe(1);
    expect(takes('a', 10)).toBe(3);
  });
});
