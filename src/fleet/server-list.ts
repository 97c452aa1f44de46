import type { Positions } from "../hub/history/positions.ts";
import type { Identity } from "../hub/identity.ts";
import type { Fleet, Peer } from "./fleet.ts";
import type { NodeFigures } from "./node-report.ts";

/** ms of silence from which a server is listed as silent: it missed a report. */
const SILENT_AFTER = 3000;

/** ms for which a server is listed after it was declared dead. */
const LISTED_DEAD = 600_000;

/** `silent`: it does not report, and is not declared dead yet. */
export type ServerState = "up" | "draining" | "silent" | "stopped" | "dead";

/** A server as lists show it. */
export interface ListedServer {
  readonly name: string;
  readonly incarnation: string;
  /** Whether it is this server. */
  readonly self: boolean;
  readonly state: ServerState;
  readonly figures: NodeFigures;
  /** Messages that others received from the bus and that it has not; `null` while unknown. */
  readonly lag: number | null;
}

/** The servers on this Redis, for lists: this one, the others that live, and those that were lost in the last ten minutes. */
export class ServerList {
  readonly identity: Identity;
  readonly #fleet: Fleet | null;
  readonly #figures: () => NodeFigures;
  readonly #positions: Positions;

  /** @param fleet `null` for a server that is alone */
  constructor(identity: Identity, fleet: Fleet | null, figures: () => NodeFigures, positions: Positions) {
    this.#positions = positions;
    this.identity = identity;
    this.#fleet = fleet;
    this.#figures = figures;
  }

  all(): ListedServer[] {
    const { name, incarnation } = this.identity;
    const figures = this.#figures();
    const own = { name, incarnation, self: true, state: stateOf(figures), figures, lag: this.#ownLag() };
    const others = [...(this.#fleet?.others.values() ?? [])].map((peer) => this.#listed(peer));
    const names = new Set([name, ...others.map((each) => each.name)]);
    const dead = [...(this.#fleet?.dead ?? [])]
      // Not one that was started again.
      .filter((peer) => !names.has(peer.name) && isRecent(peer))
      .map((peer) => this.#listed(peer));
    return [own, ...others, ...dead].sort(
      (one, other) => compare(one.name, other.name) || compare(one.incarnation, other.incarnation),
    );
  }

  /** The lag of each living server, by name; the greatest where several have one name. */
  lags(): ReadonlyMap<string, number> {
    const lags = new Map([[this.identity.name, this.#ownLag() ?? 0]]);
    for (const peer of this.#fleet?.others.values() ?? []) {
      const lag = this.#lagOf(peer);
      if (lag !== null) lags.set(peer.name, Math.max(lag, lags.get(peer.name) ?? 0));
    }
    return lags;
  }

  #listed(peer: Peer): ListedServer {
    const { name, incarnation, report, silent, diedAt } = peer;
    const living = silent >= SILENT_AFTER ? "silent" : stateOf(report);
    const gone = diedAt === null ? null : "dead";
    const state = report.stopped ? "stopped" : (gone ?? living);
    return { name, incarnation, self: false, state, figures: report, lag: this.#lagOf(peer) };
  }

  #lagOf({ received, lag, silent, report, diedAt }: Peer): number | null {
    if (received === null || report.stopped || diedAt !== null) return null;
    // One that does not report falls behind with each message.
    return silent >= SILENT_AFTER ? Math.max(lag, this.#positions.seq - received) : lag;
  }

  /** Positive where servers are connected to different nodes of a cluster. */
  #ownLag(): number | null {
    let newest = this.#positions.seq;
    for (const { received } of this.#fleet?.others.values() ?? []) newest = Math.max(newest, received ?? 0);
    return newest - this.#positions.seq;
  }
}

function stateOf({ draining }: NodeFigures): ServerState {
  return draining ? "draining" : "up";
}

function isRecent({ diedAt }: Peer): boolean {
  return diedAt !== null && performance.now() - diedAt < LISTED_DEAD;
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
