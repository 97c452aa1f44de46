import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AddressTable, tableWords } from "./address-table.ts";

/** Whether a worker accepts connections, and whether its bus is live. */
export type WorkerState = "absent" | "away" | "ready";

const STATES: readonly WorkerState[] = ["absent", "away", "ready"];

/** Words (32 bits) at the start: a lock, whether the sign-in code was used, two of a random seed, the leader. */
const LOCK = 0;
const CODE_USED = 1;
const SEED = 2;
const LEADER = 4;

/** Then these of each worker: its state, and its open connections. */
const WORKERS = 16;
const WORDS_OF_WORKER = 2;

const FILE = "memory";

/** Memory that all workers of a machine share: what their limits count, and who is ready. Survives the end of any of them. */
export class SharedMemory {
  readonly #words: Int32Array;
  readonly #count: number;
  /** Limits by address. */
  readonly #addresses: (worker: number) => AddressTable;

  private constructor(bytes: Uint8Array, count: number) {
    const { buffer, byteOffset } = bytes;
    const words = new Int32Array(buffer, byteOffset, bytes.byteLength / 4);
    const floats = new Float64Array(buffer, byteOffset, bytes.byteLength / 8);
    this.#words = words;
    this.#count = count;
    const seed = ((words[SEED] ?? 0) >>> 0) * 2 ** 20 + ((words[SEED + 1] ?? 0) & 0xfffff);
    this.#addresses = (worker) =>
      new AddressTable({ words, floats, lock: LOCK, at: tableAt(count), workers: count, worker, seed });
  }

  /** @throws Error if the folder cannot be written */
  static create(folder: string, count: number): SharedMemory {
    const path = join(folder, FILE);
    const head = new Int32Array(WORKERS);
    head.set(crypto.getRandomValues(new Int32Array(2)), SEED);
    writeFileSync(path, head, { mode: 0o600 });
    // What is never written needs no memory.
    truncateSync(path, (tableAt(count) + tableWords(count)) * 4);
    return SharedMemory.open(folder, count);
  }

  static open(folder: string, count: number): SharedMemory {
    return new SharedMemory(Bun.mmap(join(folder, FILE), { shared: true }), count);
  }

  /** The counts of one worker, which sees those of all. */
  addresses(worker: number): AddressTable {
    return this.#addresses(worker);
  }

  setState(worker: number, state: WorkerState): void {
    Atomics.store(this.#words, wordOf(worker), STATES.indexOf(state));
  }

  /** The first worker that accepts connections although its bus is away; `null` if there is none. */
  firstAway(): number | null {
    for (let worker = 1; worker <= this.#count; worker++) {
      if (STATES[Atomics.load(this.#words, wordOf(worker))] === "away") return worker;
    }
    return null;
  }

  /** Adds to the open connections of a worker. Returns those of all workers. */
  addOpen(worker: number, change: number): number {
    Atomics.add(this.#words, wordOf(worker) + 1, change);
    return this.open;
  }

  /** Open connections of all workers. */
  get open(): number {
    let sum = 0;
    for (let worker = 1; worker <= this.#count; worker++) {
      sum += Atomics.load(this.#words, wordOf(worker) + 1);
    }
    return sum;
  }

  get codeIsUsed(): boolean {
    return Atomics.load(this.#words, CODE_USED) !== 0;
  }

  /** Whether the sign-in code was not used yet, by anyone; it is used then. */
  useCode(): boolean {
    return Atomics.exchange(this.#words, CODE_USED, 1) === 0;
  }

  /** The worker that receives messages for all; 0: there is none. */
  get leader(): number {
    return Atomics.load(this.#words, LEADER);
  }

  /** Makes a worker the leader, if there is none. */
  lead(worker: number): boolean {
    return Atomics.compareExchange(this.#words, LEADER, 0, worker) === 0;
  }

  /** If a worker is the leader, there is none from now on. */
  resign(worker: number): void {
    Atomics.compareExchange(this.#words, LEADER, worker, 0);
  }

  /** Forgets a worker that has ended. */
  clear(worker: number): void {
    this.resign(worker);
    this.setState(worker, "absent");
    Atomics.store(this.#words, wordOf(worker) + 1, 0);
    this.#addresses(worker).clear();
  }
}

function wordOf(worker: number): number {
  return WORKERS + (worker - 1) * WORDS_OF_WORKER;
}

function tableAt(count: number): number {
  return WORKERS + count * WORDS_OF_WORKER;
}
