import { join } from "node:path";
import type { SharedCode } from "./auth/admin.ts";
import { Interest } from "./bus/relay/interest.ts";
import type { RelayPlace } from "./bus/relay/relay.ts";
import { Siblings } from "./fleet/siblings.ts";
import type { WorkerStart } from "./process/workers/messages.ts";
import { SharedMemory } from "./process/workers/shared-memory.ts";
import type { SupervisorLink } from "./process/workers/supervisor-link.ts";

/** Time (ms) after `shutdown_grace` for the last clients to read what was sent to them. */
const LAST_CLIENTS = 3000;

/** What a server shares with the other workers of its machine. */
export interface WorkerParts {
  /** From 1. */
  readonly number: number;
  readonly count: number;
  readonly memory: SharedMemory;
  readonly siblings: Siblings;
  /** The unix socket at which the others reach it. */
  readonly socket: string;
  /** `null` without memory for it. */
  readonly relayPlace: RelayPlace | null;
  /** Whether it is to log what concerns the whole machine: only one does, once. */
  readonly reportsMachine: boolean;
  /** See `AdminParts`. */
  readonly sharedCode: SharedCode | null;
  /** Tells the supervisor all incarnations of this server. */
  announce(own: readonly string[]): void;
}

export function createWorkerParts(start: WorkerStart, link: SupervisorLink): WorkerParts {
  const { number, count, folder, secret, signInCode, sharesPort, replaces } = start;
  const memory = SharedMemory.open(folder, count);
  const socketOf = (worker: number): string => join(folder, `${worker}.sock`);
  return {
    number,
    count,
    memory,
    siblings: new Siblings({ worker: number, count, secret, socketOf, numberOf: link.workerOf }),
    socket: socketOf(number),
    relayPlace: openRelayPlace(start, memory),
    // One that is started again shares the port and replaces none.
    reportsMachine: number === 1 && (replaces || !sharesPort),
    sharedCode:
      signInCode === null
        ? null
        : { code: signInCode, isUsed: () => memory.codeIsUsed, use: () => memory.useCode() },
    announce: link.announce,
  };
}

function openRelayPlace(
  { folder, number: worker, config }: WorkerStart,
  memory: SharedMemory,
): RelayPlace | null {
  let interest: Interest;
  try {
    interest = new Interest(folder, worker);
  } catch {
    return null;
  }
  return {
    ...{ folder, worker, interest },
    // All workers close their clients in this time, and wait for the last ones.
    linger: config.shutdownGrace + LAST_CLIENTS,
    leader: () => memory.leader,
    lead: () => memory.lead(worker),
    resign: () => memory.resign(worker),
  };
}
