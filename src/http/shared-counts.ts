import type { AddressTable } from "../process/workers/address-table.ts";
import type { SharedMemory } from "../process/workers/shared-memory.ts";
import { BURST_SECS, type ConnectionCounts } from "./connection-counts.ts";

/** The counts of all workers of a machine. */
export class SharedCounts implements ConnectionCounts {
  readonly #memory: SharedMemory;
  readonly #addresses: AddressTable;
  readonly #worker: number;

  /** @param worker the number of this one */
  constructor(memory: SharedMemory, worker: number) {
    this.#memory = memory;
    this.#addresses = memory.addresses(worker);
    this.#worker = worker;
  }

  get total(): number {
    return this.#memory.open;
  }

  open(address: string): number {
    return this.#addresses.open(address);
  }

  add(address: string): void {
    this.#memory.addOpen(this.#worker, 1);
    this.#addresses.add(address);
  }

  remove(address: string): void {
    this.#memory.addOpen(this.#worker, -1);
    this.#addresses.remove(address);
  }

  takeToken(address: string, rate: number): boolean {
    return this.#addresses.takeToken(address, 1000 / rate, BURST_SECS * 1000);
  }
}
