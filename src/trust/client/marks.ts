import { join } from 'node:path';
import { readWhole, writeDurably } from '../../store/durable.ts';
import { nodeFiles } from '../../store/files.ts';
import type { Files } from '../../store/files.ts';
import { ProcessLock } from '../../store/process-lock.ts';
import { sha256 } from '../metadata.ts';

/**
 * The highest versions and sequence numbers a device has seen: what protects it from going back even when every other
 * file of its state is damaged. Two files are written in turn, each with a counter and a checksum, so that one of them is
 * whole whatever happens to the other.
 */
export interface Marks {
  readonly root: number;
  /** Which keys the marks below were made under: an exchange of timestamp or snapshot keys drops them (TUF 5.3.11). */
  readonly keys: string;
  readonly timestamp: number;
  readonly snapshot: number;
  /** Versions of targets roles, from the snapshot. */
  readonly roles: Readonly<Record<string, number>>;
  /** Highest accepted sequence, by product. */
  readonly sequences: Readonly<Record<string, number>>;
}

/** Of a device that has seen nothing. */
export const NO_MARKS: Marks = { root: 0, keys: '', timestamp: 0, snapshot: 0, roles: {}, sequences: {} };
const MAX_BYTES = 4 * 1024 * 1024;

interface Slot {
  readonly counter: number;
  readonly marks: Marks;
}

export class MarksFile {
  readonly #files: Files;
  readonly #directory: string;
  #slot: Slot;

  private constructor(files: Files, directory: string, slot: Slot) {
    this.#files = files;
    this.#directory = directory;
    this.#slot = slot;
  }

  static async open(files: Files, directory: string): Promise<MarksFile> {
    return new MarksFile(files, directory, await newest(files, directory));
  }

  get marks(): Marks {
    return this.#slot.marks;
  }

  /**
   * Replaces the marks durably; writes nothing when nothing changed. What another process wrote since is kept: two runs
   * for two products share a state, and neither may take back what the other has seen.
   */
  async write(marks: Marks): Promise<void> {
    // Only the file system of this machine is shared with other processes.
    const lock = new ProcessLock(this.#files === nodeFiles ? join(this.#directory, 'marks.lock') : undefined);
    await lock.acquire({ code: 'STATE_BUSY', doing: 'writing to this state directory', patienceMs: 60_000 });
    try {
      const there = await newest(this.#files, this.#directory);
      const slot = { counter: there.counter + 1, marks: there.counter > this.#slot.counter ? merged(there.marks, marks) : marks };
      if (JSON.stringify(slot.marks) === JSON.stringify(there.marks)) {
        this.#slot = there;
        return;
      }
      const text = JSON.stringify(slot);
      await writeDurably(this.#files, join(this.#directory, `marks.${String(slot.counter % 2)}`), Buffer.from(`${sha256(Buffer.from(text))}\n${text}\n`));
      this.#slot = slot;
    } finally {
      lock.release();
    }
  }
}

/** The higher of both in everything; of online roles, what was seen under the newer root's keys. */
function merged(there: Marks, ours: Marks): Marks {
  const sequences = higher(there.sequences, ours.sequences);
  if (there.root !== ours.root && there.keys !== ours.keys) return { ...(there.root > ours.root ? there : ours), sequences };
  return {
    root: Math.max(there.root, ours.root),
    keys: ours.keys,
    timestamp: Math.max(there.timestamp, ours.timestamp),
    snapshot: Math.max(there.snapshot, ours.snapshot),
    roles: there.snapshot > ours.snapshot ? there.roles : ours.roles,
    sequences,
  };
}

function higher(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries([...new Set([...Object.keys(a), ...Object.keys(b)])].sort().map((name) => [name, Math.max(a[name] ?? 0, b[name] ?? 0)]));
}

async function newest(files: Files, directory: string): Promise<Slot> {
  const slots = [await readSlot(files, join(directory, 'marks.0')), await readSlot(files, join(directory, 'marks.1'))];
  return slots.reduce<Slot>((best, slot) => (slot !== undefined && slot.counter > best.counter ? slot : best), { counter: 0, marks: NO_MARKS });
}

/** One of the two files, or undefined when it is not there, too long or not whole. */
async function readSlot(files: Files, path: string): Promise<Slot | undefined> {
  const size = (await files.stat(path))?.size ?? 0;
  const bytes = size > MAX_BYTES ? undefined : await readWhole(files, path, MAX_BYTES);
  const [sum, text] = Buffer.from(bytes ?? []).toString('utf8').split('\n');
  return text !== undefined && sum === sha256(Buffer.from(text)) ? (JSON.parse(text) as Slot) : undefined;
}
