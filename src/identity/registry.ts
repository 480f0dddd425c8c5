import { timingSafeEqual } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { ShoalError, messageOf } from '../core/errors.ts';
import { AUDIT_MAX, CERTIFICATE_LIFE_MS, REVOCATION_KEPT_MS } from '../core/limits.ts';
import type { FleetRole } from './holder.ts';
import type { Revoked } from './revocations.ts';
import { hashOfSecret } from './token.ts';

/** What a token lets a device become. */
export interface Scope {
  readonly role: FleetRole;
  readonly site: string | undefined;
  readonly products: readonly string[] | 'all';
}

export interface TokenRecord extends Scope {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly created: number;
  readonly expires: number;
  /** How often it can still be used. */
  readonly uses: number;
  readonly note: string;
}

export interface DeviceRecord extends Scope {
  readonly device: string;
  readonly enrolled: number;
  readonly renewed: number;
  readonly revoked: number | undefined;
  readonly token: string;
}

export type AuditEvent = 'token' | 'token-revoked' | 'enrolled' | 'refused' | 'revoked';

export interface AuditRecord {
  readonly at: number;
  readonly event: AuditEvent;
  /** Device or token it is about. */
  readonly about: string;
  /** Where a request came from; empty for what was done at the server. */
  readonly from: string;
  readonly detail: string;
}

const SCHEMA = `
CREATE TABLE tokens (id TEXT PRIMARY KEY, hash TEXT NOT NULL, role TEXT NOT NULL, site TEXT, products TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, uses INTEGER NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE devices (device TEXT PRIMARY KEY, role TEXT NOT NULL, site TEXT, products TEXT NOT NULL, enrolled INTEGER NOT NULL, renewed INTEGER NOT NULL, revoked INTEGER, token TEXT NOT NULL) STRICT;
CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL, about TEXT NOT NULL, origin TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
`;
const VERSION = 1;

interface Row {
  readonly [column: string]: unknown;
}

/**
 * Tokens, devices and what was done with them: one SQLite file beside the authority, so that commands work while an origin
 * runs. A transaction that has returned is on the medium. Secrets are not in it.
 */
export class Registry {
  readonly #db: DatabaseSync;

  /** Throws `REGISTRY` when the file cannot be used. */
  static open(path: string): Registry {
    try {
      return new Registry(path);
    } catch (cause) {
      throw new ShoalError('REGISTRY', `the registry of devices, ${path}, cannot be used: ${messageOf(cause)}`, { cause, ids: { path } });
    }
  }

  private constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 10_000 });
    this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    this.#transaction(() => {
      const { user_version: version } = this.#db.prepare('PRAGMA user_version').get() as { readonly user_version: number };
      if (version > VERSION) throw new Error('it was made by a newer program');
      if (version === 0) this.#db.exec(`${SCHEMA} PRAGMA user_version = ${String(VERSION)};`);
    });
  }

  addToken(token: TokenRecord, secret: string): void {
    this.#transaction(() => {
      this.#db.prepare('INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)').run(token.id, hashOfSecret(secret), token.role, token.site ?? null, JSON.stringify(token.products), token.created, token.expires, token.uses, token.note);
      this.#note({ at: token.created, event: 'token', about: token.id, from: '', detail: `${token.role}, site ${token.site ?? 'none'}, ${productsText(token.products)}, ${String(token.uses)} uses, until ${new Date(token.expires).toISOString()}` });
    });
  }

  /** Whether there is such a token, used up or expired as it may be. */
  knowsToken(id: string): boolean {
    return this.#db.prepare('SELECT 1 FROM tokens WHERE id = ?').get(id) !== undefined;
  }

  tokens(): readonly TokenRecord[] {
    return (this.#db.prepare('SELECT * FROM tokens ORDER BY created').all() as Row[]).map(tokenOf);
  }

  /** Ends a token. Says whether there was one. */
  revokeToken(id: string, now: number): boolean {
    return this.#transaction(() => {
      const { changes } = this.#db.prepare('DELETE FROM tokens WHERE id = ?').run(id);
      if (Number(changes) > 0) this.#note({ at: now, event: 'token-revoked', about: id, from: '', detail: '' });
      return Number(changes) > 0;
    });
  }

  /** Uses a token up by one and notes the device, in one transaction. Returns why not, or what the device is. */
  enrol(id: string, secret: string, device: string, from: string, now: number): Scope | { readonly refused: string } {
    return this.#transaction(() => {
      const row = this.#db.prepare('SELECT * FROM tokens WHERE id = ?').get(id) as Row | undefined;
      const known = typeof row?.['hash'] === 'string' ? row['hash'] : '0'.repeat(64);
      const right = timingSafeEqual(Buffer.from(known, 'hex'), Buffer.from(hashOfSecret(secret), 'hex'));
      const refuse = (why: string): { readonly refused: string } => {
        this.#note({ at: now, event: 'refused', about: device, from, detail: `token ${id}: ${why}` });
        return { refused: why };
      };
      if (row === undefined || !right) return refuse('not a token of this fleet');
      const token = tokenOf(row);
      if (token.expires <= now) return refuse('expired');
      const before = this.device(device);
      if (before?.revoked !== undefined) return refuse('the device was revoked');
      // An answer that was lost on the way must not cost a one-time token: the same key asks again.
      const again = before?.token === id;
      if (token.uses < 1 && !again) return refuse('used up');
      if (!again) this.#db.prepare('UPDATE tokens SET uses = uses - 1 WHERE id = ?').run(id);
      this.#db.prepare('INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, NULL, ?)').run(device, token.role, token.site ?? null, JSON.stringify(token.products), before?.enrolled ?? now, now, id);
      this.#note({ at: now, event: 'enrolled', about: device, from, detail: `token ${id}: ${token.role}, site ${token.site ?? 'none'}, ${productsText(token.products)}` });
      return { role: token.role, site: token.site, products: token.products };
    });
  }

  /** Notes that a device gets new certificates. Returns why not, or what it is. */
  renew(device: string, from: string, now: number): Scope | { readonly refused: string } {
    return this.#transaction(() => {
      const known = this.device(device);
      const why = known === undefined ? 'not enrolled' : known.revoked === undefined ? undefined : 'revoked';
      if (known === undefined || why !== undefined) {
        this.#note({ at: now, event: 'refused', about: device, from, detail: `renewal: ${why ?? ''}` });
        return { refused: why ?? '' };
      }
      this.#db.prepare('UPDATE devices SET renewed = ? WHERE device = ?').run(now, device);
      return { role: known.role, site: known.site, products: known.products };
    });
  }

  device(device: string): DeviceRecord | undefined {
    const row = this.#db.prepare('SELECT * FROM devices WHERE device = ?').get(device) as Row | undefined;
    return row === undefined ? undefined : deviceOf(row);
  }

  devices(): readonly DeviceRecord[] {
    return (this.#db.prepare('SELECT * FROM devices ORDER BY enrolled, device').all() as Row[]).map(deviceOf);
  }

  /** Revokes a device for good. Says whether that was new; undefined when it is not known. */
  revoke(device: string, reason: string, now: number): boolean | undefined {
    return this.#transaction(() => {
      const known = this.device(device);
      if (known === undefined) return undefined;
      if (known.revoked !== undefined) return false;
      this.#db.prepare('UPDATE devices SET revoked = ? WHERE device = ?').run(now, device);
      this.#note({ at: now, event: 'revoked', about: device, from: '', detail: reason });
      return true;
    });
  }

  /** Who has to be on the revocation list: those whose last certificate is not long past. */
  revoked(now: number): readonly Revoked[] {
    return this.devices().flatMap(({ device, renewed, revoked }) => {
      const until = renewed + CERTIFICATE_LIFE_MS + REVOCATION_KEPT_MS;
      return revoked === undefined || until <= now ? [] : [{ device, until }];
    });
  }

  /** The newest lines, oldest first. */
  audit(most = 1_000): readonly AuditRecord[] {
    const rows = this.#db.prepare('SELECT * FROM audit ORDER BY number DESC LIMIT ?').all(most) as Row[];
    return rows.reverse().map((row) => ({ at: row['at'] as number, event: row['event'] as AuditEvent, about: row['about'] as string, from: row['origin'] as string, detail: row['detail'] as string }));
  }

  close(): void {
    this.#db.close();
  }

  #note({ at, event, about, from, detail }: AuditRecord): void {
    const { lastInsertRowid } = this.#db.prepare('INSERT INTO audit (at, event, about, origin, detail) VALUES (?, ?, ?, ?, ?)').run(at, event, about, from, detail);
    // What strangers can cause goes first.
    if (Number(lastInsertRowid) % 1_000 === 0) this.#db.prepare("DELETE FROM audit WHERE event = 'refused' AND number <= ?").run(Number(lastInsertRowid) - AUDIT_MAX);
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}

function scopeOf(row: Row): Scope {
  return { role: row['role'] as FleetRole, site: (row['site'] as string | null) ?? undefined, products: JSON.parse(row['products'] as string) as Scope['products'] };
}

function tokenOf(row: Row): TokenRecord {
  return { ...scopeOf(row), id: row['id'] as string, created: row['created'] as number, expires: row['expires'] as number, uses: row['uses'] as number, note: row['note'] as string };
}

function deviceOf(row: Row): DeviceRecord {
  return { ...scopeOf(row), device: row['device'] as string, enrolled: row['enrolled'] as number, renewed: row['renewed'] as number, revoked: (row['revoked'] as number | null) ?? undefined, token: row['token'] as string };
}

export function productsText(products: Scope['products']): string {
  return products === 'all' ? 'all products' : products.length === 0 ? 'no products' : `products ${products.join(', ')}`;
}
