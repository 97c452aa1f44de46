import { join } from "node:path";
import { createSharedFile, openSharedFile } from "./shared-file.ts";

/** Number of slots. A hash of its name assigns each channel to one, which it may share with others. */
const SLOTS = 128 * 1024;

/** The slot of all channels. */
const ALL = SLOTS;

const COLON = 58;
const T = 116;
/** Bytes of `to:`. */
const START = 3;

/**
 * The channels that a worker has listeners for, in memory that the others read: messages of other channels are only counted there. Where
 * two channels share a slot, the worker gets messages that it does not need, and no message is lost.
 */
export class Interest {
  /** Reads what was received, or a part of it. */
  catchUp: () => void = () => {};
  /** Called with the slot of a channel that has its first listener: what was received until now is not for it. */
  began: (slot: number) => void = () => {};
  readonly #slots: Uint8Array;
  #needsAll = false;
  /** Channels of each slot. */
  readonly #counts = new Uint32Array(SLOTS);

  /** @throws Error if there is no room for it */
  constructor(folder: string, worker: number) {
    this.#slots = createSharedFile(pathOf(folder, worker), SLOTS + 1);
  }

  /** The worker needs every message. */
  all(): void {
    this.#needsAll = true;
    Atomics.store(this.#slots, ALL, 1);
  }

  /** A channel may have listeners from now on. */
  add(channel: string): void {
    const slot = slotOf(Buffer.from(channel));
    const count = (this.#counts[slot] ?? 0) + 1;
    this.#counts[slot] = count;
    if (count > 1) return;
    Atomics.store(this.#slots, slot, 1);
    if (!this.#needsAll) this.began(slot);
  }

  remove(channel: string): void {
    const slot = slotOf(Buffer.from(channel));
    const count = (this.#counts[slot] ?? 1) - 1;
    this.#counts[slot] = count;
    if (count === 0) Atomics.store(this.#slots, slot, 0);
  }
}

/** What another worker has listeners for. */
export class OthersInterest {
  readonly #slots: Uint8Array;

  /** @throws Error if the worker has no such file */
  constructor(folder: string, worker: number) {
    this.#slots = openSharedFile(pathOf(folder, worker));
  }

  /** @param slot as `slotOfName` returns it */
  has(slot: number): boolean {
    return this.#slots[slot] === 1 || this.#slots[ALL] === 1 || slot < 0;
  }
}

/** The slot of the channel of a name on the bus; -1 for names that every worker needs. */
export function slotOfName(name: Buffer): number {
  // `to:<channel>:<event>`; an event has no colon.
  const colon = name.lastIndexOf(COLON);
  return name[0] === T && colon >= START ? slotOf(name.subarray(START, colon)) : -1;
}

function slotOf(channel: Buffer): number {
  return Bun.hash.crc32(channel) % SLOTS;
}

function pathOf(folder: string, worker: number): string {
  return join(folder, `interest-${worker}`);
}
