import type { Config } from "../../config/config.ts";
import type { Handover } from "../handover.ts";

/** What a worker gets when it starts. */
export interface WorkerStart {
  /** From 1. */
  readonly number: number;
  /** Workers of this machine. */
  readonly count: number;
  /** Holds the shared memory and the sockets between workers; only this user can read it. */
  readonly folder: string;
  /** Proves that a request comes from another worker. */
  readonly secret: string;
  /** Of the one-time sign-in link; `null` where an admin secret is configured. */
  readonly signInCode: string | null;
  /** With the port and the secrets of this start: all workers have the same one, whatever the file says later. */
  readonly config: Config;
  readonly handover: Handover;
  /** Whether it listens only after `listen`, when its bus is live. */
  readonly replaces: boolean;
  /** Whether others listen on the port already. */
  readonly sharesPort: boolean;
}

/** The number of each worker by its incarnations. */
export type Incarnations = Readonly<Record<string, number>>;

export type ReloadAnswer =
  | { readonly ok: true; readonly pid: number }
  | { readonly ok: false; readonly reason: string };

export type ToWorker =
  | { readonly type: "start"; readonly start: WorkerStart }
  | { readonly type: "listen" }
  | { readonly type: "incarnations"; readonly incarnations: Incarnations }
  /** A successor of the whole machine is subscribed. Answered by `prepared`. */
  | { readonly type: "prepare" }
  /** New connections go to the socket with this number among those of the port. Answered by `yielded`. */
  | { readonly type: "yield"; readonly to: number }
  | { readonly type: "reclaim" }
  | { readonly type: "stop"; readonly replaced: boolean }
  | { readonly type: "reloaded"; readonly answer: ReloadAnswer };

export type FromWorker =
  | { readonly type: "started" }
  | { readonly type: "incarnations"; readonly own: readonly string[] }
  | { readonly type: "subscribed" }
  | { readonly type: "serving"; readonly url: string; readonly port: number }
  | { readonly type: "failed"; readonly reason: string; readonly code: string }
  | { readonly type: "prepared" }
  | { readonly type: "yielded"; readonly ok: boolean }
  /** It has closed its listening sockets. */
  | { readonly type: "released" }
  | { readonly type: "reload" }
  /** Sent every `ALIVE_INTERVAL`. */
  | { readonly type: "alive" };

/** ms between two signs of life of a worker. */
export const ALIVE_INTERVAL = 2000;

/** Set for a worker, which removes it. */
export const WORKER_VARIABLE = "CHANNEL_WORKER";

const TO_WORKER: ReadonlySet<unknown> = new Set<ToWorker["type"]>([
  ...(["start", "listen", "incarnations", "prepare", "yield", "reclaim", "stop", "reloaded"] as const),
]);
const FROM_WORKER: ReadonlySet<unknown> = new Set<FromWorker["type"]>([
  ...(["started", "incarnations", "subscribed", "serving", "failed", "prepared"] as const),
  ...(["yielded", "released", "reload", "alive"] as const),
]);

/** Both ends are the same executable, so that the type says all. */
export function isToWorker(value: unknown): value is ToWorker {
  return isMessage(value, TO_WORKER);
}

export function isFromWorker(value: unknown): value is FromWorker {
  return isMessage(value, FROM_WORKER);
}

function isMessage(value: unknown, types: ReadonlySet<unknown>): boolean {
  return typeof value === "object" && value !== null && "type" in value && types.has(value.type);
}
