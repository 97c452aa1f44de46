import type { ChannelMember, ChannelstreamChannel } from "./channelstream-channel.ts";
import { type FrameBudget, FrameLog } from "./frame-log.ts";
import { isNumber } from "./parse-json.ts";
import type { State, StateValue } from "./schemas.ts";

/** Private messages that are kept for one user to catch up with. */
export const MAX_PRIVATE_FRAMES = 50;

export interface Change {
  readonly key: string;
  readonly value: StateValue;
}

/** A connection as its user sees it. */
export interface UserConnection extends ChannelMember {
  readonly id: string;
  readonly channels: ReadonlySet<ChannelstreamChannel>;
}

/** A user: a name, a state and connections. Kept for `gc_users_after` behind the last connection. */
export class User {
  readonly uuid = crypto.randomUUID();
  readonly name: string;
  readonly listeners = new Set<UserConnection>();
  readonly frames: FrameLog;
  publicKeys: readonly string[] = [];
  /** When a message last came from or went to the user, in ms (`performance.now()`). */
  lastActive: number;
  readonly #state = new Map<string, StateValue>();

  constructor(name: string, budget: FrameBudget, now: number) {
    this.name = name;
    this.frames = new FrameLog(budget);
    this.lastActive = now;
  }

  get state(): Readonly<Record<string, StateValue>> {
    return Object.fromEntries(this.#state);
  }

  get publicState(): Readonly<Record<string, StateValue>> {
    return Object.fromEntries([...this.#state].filter(([key]) => this.publicKeys.includes(key)));
  }

  /** The approximate size of the state with these values, in bytes. */
  stateBytes(more: State): number {
    let bytes = 0;
    for (const [key, value] of new Map([...this.#state, ...more])) bytes += key.length + size(value);
    return bytes;
  }

  /** Sets values and returns those that changed. */
  merge(values: State): readonly Change[] {
    const changed: Change[] = [];
    for (const [key, value] of values) {
      if (this.#state.has(key) ? same(this.#state.get(key), value) : value === null) continue;
      this.#state.set(key, value);
      changed.push({ key, value });
    }
    return changed;
  }
}

function size(value: StateValue): number {
  return typeof value === "string" ? value.length : 8;
}

function same(a: StateValue | undefined, b: StateValue): boolean {
  return isNumber(a) && isNumber(b) ? JSON.stringify(a) === JSON.stringify(b) : a === b;
}
