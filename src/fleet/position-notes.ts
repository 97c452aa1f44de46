import type { Greeting } from "../bus/bus.ts";
import { printHub } from "../bus/topics.ts";
import type { Positions } from "../hub/history/positions.ts";
import { randomId } from "../hub/random-id.ts";
import type { FleetMessages } from "./fleet-messages.ts";

/** How long the second note is waited for, in ms: as long as the bus may take to accept messages. */
const TIMEOUT = 2000;

/** Notes that are waited for at once; further publications get no positions. */
const MAX_WAITING = 10_000;

/** A note to publish before some messages and again after them. */
export interface PositionNote extends Greeting {
  /**
   * Resolves to the positions of `count` messages between. Where messages of others were between too, as in a cluster, each is
   * that of the first message after the note: a client that resumes from it misses nothing. `null` where unknown: the
   * note was not received within 2 s, or messages were missed.
   */
  positions(count: number): Promise<readonly (string | null)[]>;
  /** Waits no longer: it was not published. */
  cancel(): void;
}

interface Waiting {
  /** The number of the last message before the note. */
  before: number | null;
  settle(after: number | null): void;
}

/** Finds the positions of messages that this server published: it receives them between two notes on `hub:at:<incarnation>`. */
export class PositionNotes {
  readonly #messages: FleetMessages;
  readonly #positions: Positions;
  readonly #kind: string;
  readonly #waiting = new Map<string, Waiting>();

  /** @param node this server's incarnation when it started: later ones change nothing, since no other server listens */
  constructor(messages: FleetMessages, positions: Positions, node: string) {
    this.#messages = messages;
    this.#positions = positions;
    this.#kind = `at:${node}`;
    messages.on(this.#kind, (body) => this.#received(body.toString("latin1")));
  }

  /** `null` while positions are unknown, or too many notes are waited for. */
  create(): PositionNote | null {
    if (this.#positions.current === null || this.#waiting.size >= MAX_WAITING) return null;
    const id = randomId(16);
    const { promise, resolve } = Promise.withResolvers<number | null>();
    const timer = setTimeout(() => waiting.settle(null), TIMEOUT);
    const waiting: Waiting = {
      before: null,
      settle: (after) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(after);
      },
    };
    this.#waiting.set(id, waiting);
    return {
      name: printHub(this.#kind),
      payload: this.#messages.sign(this.#kind, id),
      positions: async (count) => {
        const after = await promise;
        return this.#between(waiting.before, after, count);
      },
      cancel: () => waiting.settle(null),
    };
  }

  #received(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    if (waiting.before === null) waiting.before = this.#positions.seq;
    else waiting.settle(this.#positions.seq);
  }

  #between(before: number | null, after: number | null, count: number): (string | null)[] {
    const isKnown = before !== null && after !== null && after - before >= count;
    const isExact = isKnown && after - before === count;
    return Array.from({ length: count }, (_, i) =>
      isKnown ? this.#positions.at(before + 1 + (isExact ? i : 0)) : null,
    );
  }
}
