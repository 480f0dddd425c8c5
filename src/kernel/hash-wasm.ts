import { type IHasher, createBLAKE3 } from 'hash-wasm';
import { firstLine } from './choice.ts';
import { nobleHash } from './hash-noble.ts';
import type { HashTier, Hasher } from './hash-tier.ts';

/**
 * One WebAssembly instance, which holds one hash in progress, shared by any number of hashers: whoever is not on
 * stage keeps its state outside (about 2 KB) and gets it back before its next step.
 */
class Stage {
  private readonly instance: IHasher;
  private onStage: WasmHasher | undefined;

  constructor(instance: IHasher) {
    this.instance = instance;
  }

  /** Hashes in one go; only the hasher that was on stage pays for it. */
  once(bytes: Uint8Array): Uint8Array {
    this.clear();
    return this.instance.init().update(bytes).digest('binary');
  }

  start(hasher: WasmHasher): void {
    this.clear();
    this.instance.init();
    this.onStage = hasher;
  }

  enter(hasher: WasmHasher): IHasher {
    if (this.onStage !== hasher) {
      this.clear();
      if (hasher.parked !== undefined) this.instance.load(hasher.parked);
      this.onStage = hasher;
    }
    return this.instance;
  }

  leave(): void {
    this.onStage = undefined;
  }

  private clear(): void {
    if (this.onStage !== undefined) this.onStage.parked = this.instance.save();
    this.onStage = undefined;
  }
}

class WasmHasher implements Hasher {
  /** The state while another hasher is on stage. */
  parked: Uint8Array | undefined;
  private readonly stage: Stage;

  constructor(stage: Stage) {
    this.stage = stage;
    stage.start(this);
  }

  update(bytes: Uint8Array): this {
    this.stage.enter(this).update(bytes);
    return this;
  }

  digest(): Uint8Array {
    const hash = this.stage.enter(this).digest('binary');
    this.stage.leave();
    return hash;
  }
}

/** Loads the WebAssembly hash, or returns why it cannot. */
export async function loadWasmHash(): Promise<HashTier | string> {
  // hash-wasm takes a key only while it creates an instance, which is asynchronous; but it copies the key from the
  // caller's buffer anew at every init(), so one keyed instance serves every key. Checked below, not trusted.
  const slot = new Uint8Array(32);
  let tier: HashTier;
  try {
    const plain = new Stage(await createBLAKE3(256));
    const keyed = new Stage(await createBLAKE3(256, slot));
    tier = {
      hash: (bytes) => plain.once(bytes),
      keyed(key, bytes) {
        slot.set(key);
        return keyed.once(bytes);
      },
      hasher(key) {
        if (key === undefined) return new WasmHasher(plain);
        slot.set(key);
        return new WasmHasher(keyed);
      },
    };
  } catch (error) {
    return `hash-wasm does not run (${firstLine(error)})`;
  }
  const probe = Uint8Array.from({ length: 2000 }, (_, at) => at % 251);
  for (const key of [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]) {
    if (Buffer.compare(tier.keyed(key, probe), nobleHash.keyed(key, probe)) !== 0) {
      return 'hash-wasm hashes wrongly with a key';
    }
  }
  return tier;
}
