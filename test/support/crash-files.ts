import { dirname } from 'node:path';
import { ShoalError } from '../../src/core/errors.ts';
import { fileError } from '../../src/store/files.ts';
import type { FileStat, Files, OpenFile, OpenMode } from '../../src/store/files.ts';
import { Contents, tear } from './crash-contents.ts';
import { randomFrom } from './random.ts';

/**
 * A file layer in memory that remembers every write, sync, rename and removal, and can say what may be on the medium
 * after the power failed at any point of that history. Nothing that was not synced is promised:
 *
 * - a write may be there, missing, or torn: any subset of its 512-byte sectors, in any order relative to other writes;
 * - a file that grew may have its new size and zeros instead of its new bytes;
 * - a creation, rename or removal may or may not have happened until its directory was synced, even when the file itself was.
 *
 * Faults are drawn from a seed, so a failure is repeated by its (point, seed).
 */

interface Node {
  readonly id: number;
  readonly kind: 'file' | 'directory';
}

type Operation =
  | { readonly op: 'write'; readonly node: number; readonly position: number; readonly bytes: Uint8Array }
  | { readonly op: 'truncate'; readonly node: number; readonly size: number }
  | { readonly op: 'sync'; readonly node: number }
  /** Adds and removes names, all in one step; `directories` are the ones whose sync makes it durable. */
  | { readonly op: 'names'; readonly set: readonly (readonly [path: string, node: Node])[]; readonly drop: readonly string[]; readonly directories: readonly string[] }
  | { readonly op: 'sync-directory'; readonly path: string }
  | { readonly op: 'mark'; readonly label: string };

/** How unsynced operations fare at a crash. */
export interface CrashPolicy {
  /** What the random choices are drawn from. */
  readonly seed: number;
  /**
   * - `drop`: nothing unsynced survives; - `keep`: everything does (a killed process rather than a power cut);
   * - `random`: each write, sector and name for itself; - `ordered`: names survive as a prefix, as in a journal; data is random.
   */
  readonly mode: 'drop' | 'keep' | 'random' | 'ordered';
}

function fail(errno: string, path: string): never {
  throw fileError(Object.assign(new Error(errno), { code: errno }), path);
}

export class CrashFiles implements Files {
  readonly #log: Operation[] = [];
  readonly #names = new Map<string, Node>();
  readonly #contents = new Map<number, Contents>();
  readonly #links = new Map<number, string>();
  #nextNode = 1;
  /** Contents that were on the medium before the history began. */
  readonly #initial: ReadonlyMap<string, { readonly node: Node; readonly bytes: Uint8Array }>;
  /** Bytes that may still be written before `DISK_FULL`; unlimited when undefined. */
  space: number | undefined;

  constructor(initial: ReadonlyMap<string, { readonly kind: Node['kind']; readonly bytes: Uint8Array }> = new Map()) {
    const start = new Map<string, { node: Node; bytes: Uint8Array }>();
    for (const [path, { kind, bytes }] of new Map([['/', { kind: 'directory' as const, bytes: new Uint8Array(0) }], ...initial])) {
      const node = { id: this.#nextNode++, kind };
      start.set(path, { node, bytes });
      this.#names.set(path, node);
      this.#contents.set(node.id, Contents.of(bytes));
    }
    this.#initial = start;
  }

  /** How many operations the history has: crash points are 0 … `points`. */
  get points(): number {
    return this.#log.length;
  }

  /** Notes in the history that the code under test has promised something. */
  mark(label: string): void {
    this.#log.push({ op: 'mark', label });
  }

  /** The promises made before `point`. */
  marksBefore(point: number): readonly string[] {
    return this.#log.slice(0, point).flatMap((entry) => (entry.op === 'mark' ? [entry.label] : []));
  }

  /** What one operation was, for messages. */
  describe(point: number): string {
    const entry = this.#log[point - 1];
    return entry === undefined ? 'start' : JSON.stringify(entry, (key, value: unknown) => (value instanceof Uint8Array ? `${String(value.byteLength)} bytes` : value));
  }

  /** A file layer with what may be on the medium when power fails after the first `point` operations. */
  crash(point: number, policy: CrashPolicy): CrashFiles {
    const random = randomFrom(policy.seed);
    const history = this.#log.slice(0, point);
    const names = this.#survivingNames(history, policy, random);
    const contents = this.#survivingContents(history, policy, random);
    const medium = new Map<string, { kind: Node['kind']; bytes: Uint8Array }>();
    for (const [path, node] of names) {
      // A file whose directory is not there cannot be reached.
      let reachable = true;
      for (let up = dirname(path); up !== '/'; up = dirname(up)) reachable &&= names.has(up);
      if (reachable && path !== '/') medium.set(path, { kind: node.kind, bytes: contents.get(node.id)?.frozen() ?? new Uint8Array(0) });
    }
    return new CrashFiles(medium);
  }

  #survivingNames(history: readonly Operation[], policy: CrashPolicy, random: () => number): Map<string, Node> {
    const lastSync = new Map<string, number>();
    for (const [index, entry] of history.entries()) if (entry.op === 'sync-directory') lastSync.set(entry.path, index);
    const names = new Map([...this.#initial].map(([path, { node }]) => [path, node] as const));
    let cut = false;
    for (const [index, entry] of history.entries()) {
      if (entry.op !== 'names') continue;
      const synced = entry.directories.every((directory) => (lastSync.get(directory) ?? -1) > index);
      if (!synced) {
        if (policy.mode === 'drop') continue;
        if (policy.mode === 'ordered') cut ||= random() < 0.3;
        if (cut || (policy.mode === 'random' && random() < 0.5)) continue;
      }
      for (const path of entry.drop) names.delete(path);
      for (const [path, node] of entry.set) names.set(path, node);
    }
    return names;
  }

  #survivingContents(history: readonly Operation[], policy: CrashPolicy, random: () => number): Map<number, Contents> {
    const lastSync = new Map<number, number>();
    for (const [index, entry] of history.entries()) if (entry.op === 'sync') lastSync.set(entry.node, index);
    const contents = new Map([...this.#initial.values()].map(({ node, bytes }) => [node.id, Contents.of(bytes)] as const));
    for (const [index, entry] of history.entries()) {
      if (entry.op !== 'write' && entry.op !== 'truncate') continue;
      const file = contents.get(entry.node) ?? new Contents();
      contents.set(entry.node, file);
      const whole = policy.mode === 'keep' || (lastSync.get(entry.node) ?? -1) > index;
      if (!whole && policy.mode === 'drop') continue;
      if (entry.op === 'truncate') {
        if (whole || random() < 0.5) file.resize(entry.size);
        continue;
      }
      const fate = whole ? 0 : random();
      if (fate < 0.3) file.write(entry.bytes, entry.position);
      else if (fate < 0.85) tear(file, entry.position, entry.bytes, random);
    }
    return contents;
  }

  open(path: string, mode: OpenMode): Promise<OpenFile> {
    return this.#do(() => {
      let node = this.#names.get(path);
      if (node?.kind === 'directory') fail('EISDIR', path);
      if (node !== undefined && mode === 'exclusive') fail('EEXIST', path);
      if (node === undefined) {
        if (mode === 'read' || mode === 'update') fail('ENOENT', path);
        this.#directory(dirname(path));
        node = { id: this.#nextNode++, kind: 'file' };
        this.#contents.set(node.id, new Contents());
        this.#setNames([[path, node]], [], [dirname(path)]);
      } else if (mode === 'replace') {
        this.#contentsOf(node.id).resize(0);
        this.#log.push({ op: 'truncate', node: node.id, size: 0 });
      }
      return this.#handle(node.id, path, mode !== 'read');
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do(() => {
      const node = this.#names.get(from) ?? fail('ENOENT', from);
      this.#directory(dirname(to));
      const below = [...this.#names].filter(([path]) => path.startsWith(`${from}/`));
      this.#setNames(
        [[to, node], ...below.map(([path, child]) => [to + path.slice(from.length), child] as const)],
        [from, ...below.map(([path]) => path)],
        [...new Set([dirname(from), dirname(to)])],
      );
    });
  }

  remove(path: string): Promise<void> {
    return this.#do(() => {
      if (this.#names.has(path)) this.#setNames([], [path], [dirname(path)]);
    });
  }

  linkFile(from: string, to: string): Promise<void> {
    return this.#do(() => {
      const node = this.#names.get(from) ?? fail('ENOENT', from);
      if (this.#names.has(to)) fail('EEXIST', to);
      this.#directory(dirname(to));
      this.#setNames([[to, node]], [], [dirname(to)]);
    });
  }

  /** Links are names of their own kind of file here: nothing is reached through them. */
  replaceLink(target: string, path: string): Promise<void> {
    return this.#do(() => {
      this.#directory(dirname(path));
      if (this.#names.get(path)?.kind === 'directory') fail('EISDIR', path);
      const node: Node = { id: this.#nextNode++, kind: 'file' };
      this.#contents.set(node.id, new Contents());
      this.#links.set(node.id, target);
      this.#setNames([[path, node]], [], [dirname(path)]);
    });
  }

  readLink(path: string): Promise<string | undefined> {
    return this.#do(() => this.#links.get(this.#names.get(path)?.id ?? 0));
  }

  removeDirectory(path: string): Promise<void> {
    return this.#do(() => {
      this.#directory(path);
      if ([...this.#names.keys()].some((name) => name.startsWith(`${path}/`))) fail('ENOTEMPTY', path);
      this.#setNames([], [path], [dirname(path)]);
    });
  }

  makeDirectory(path: string): Promise<boolean> {
    return this.#do(() => {
      if (this.#names.get(path)?.kind === 'directory') return false;
      if (this.#names.has(path)) fail('EEXIST', path);
      this.#directory(dirname(path));
      this.#setNames([[path, { id: this.#nextNode++, kind: 'directory' }]], [], [dirname(path)]);
      return true;
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.#do(() => {
      this.#directory(path);
      this.#log.push({ op: 'sync-directory', path });
    });
  }

  list(path: string): Promise<readonly string[]> {
    return this.#do(() => {
      this.#directory(path);
      const prefix = path === '/' ? '/' : `${path}/`;
      return [...this.#names.keys()].filter((name) => name !== '/' && name.startsWith(prefix) && !name.slice(prefix.length).includes('/')).map((name) => name.slice(prefix.length)).sort();
    });
  }

  free(_path: string): Promise<number | undefined> {
    return this.#do(() => this.space);
  }

  stat(path: string): Promise<FileStat | undefined> {
    return this.#do(() => {
      const node = this.#names.get(path);
      return node && { kind: node.kind, size: this.#contents.get(node.id)?.size ?? 0, modified: 0 };
    });
  }

  /** Changes bytes behind everybody's back, as a failing medium does. */
  corrupt(path: string, change: (bytes: Uint8Array) => void): void {
    change(this.#contentsOf((this.#names.get(path) ?? fail('ENOENT', path)).id).own());
  }

  #handle(node: number, path: string, writable: boolean): OpenFile {
    const contents = this.#contentsOf(node);
    let open = true;
    const check = (writing: boolean): void => {
      if (!open || (writing && !writable)) fail('EBADF', path);
    };
    return {
      read: (into, position) => this.#do(() => {
        check(false);
        const part = contents.view().subarray(position, position + into.byteLength);
        into.set(part);
        return part.byteLength;
      }),
      write: (bytes, position) => this.#do(() => {
        check(true);
        if (this.space !== undefined) {
          const part = Math.min(bytes.byteLength, this.space);
          this.space -= part;
          if (part < bytes.byteLength) {
            // As a real disk does, take what still fits.
            this.#write(node, contents, bytes.subarray(0, part), position);
            fail('ENOSPC', path);
          }
        }
        this.#write(node, contents, bytes, position);
      }),
      truncate: (size) => this.#do(() => {
        check(true);
        contents.resize(size);
        this.#log.push({ op: 'truncate', node, size });
      }),
      sync: () => this.#do(() => {
        check(false);
        this.#log.push({ op: 'sync', node });
      }),
      size: () => this.#do(() => contents.size),
      close: () => this.#do(() => {
        check(false);
        open = false;
      }),
    };
  }

  #write(node: number, contents: Contents, bytes: Uint8Array, position: number): void {
    const copy = Uint8Array.from(bytes);
    contents.write(copy, position);
    this.#log.push({ op: 'write', node, position, bytes: copy });
  }

  #setNames(set: readonly (readonly [string, Node])[], drop: readonly string[], directories: readonly string[]): void {
    for (const path of drop) this.#names.delete(path);
    for (const [path, node] of set) this.#names.set(path, node);
    this.#log.push({ op: 'names', set, drop, directories });
  }

  #contentsOf(node: number): Contents {
    const contents = this.#contents.get(node);
    if (contents === undefined) throw new ShoalError('FILE_IO', 'a file without contents');
    return contents;
  }

  #directory(path: string): void {
    if (this.#names.get(path)?.kind !== 'directory') fail('ENOENT', path);
  }

  /** Answers a turn later, as a file system does, so that callers meet the same interleavings. */
  async #do<T>(work: () => T): Promise<T> {
    await Promise.resolve();
    return work();
  }
}
