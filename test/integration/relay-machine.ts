import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Interest } from "../../src/bus/relay/interest.ts";
import type { RelayPlace } from "../../src/bus/relay/relay.ts";

/** The workers of one machine, in one process: what they share is in memory, the ring is real. */
export class RelayMachine {
  readonly folder = mkdtempSync(join(tmpdir(), "channel-relay-"));
  leader = 0;

  /** @param needsAll whether the worker has a use for every message */
  place(worker: number, needsAll = true): RelayPlace {
    const interest = new Interest(this.folder, worker);
    if (needsAll) interest.all();
    return {
      ...{ folder: this.folder, worker, interest, linger: 5000 },
      leader: () => this.leader,
      lead: () => {
        if (this.leader !== 0) return false;
        this.leader = worker;
        return true;
      },
      resign: () => {
        if (this.leader === worker) this.leader = 0;
      },
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
