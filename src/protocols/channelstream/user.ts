import { type FrameBudget, FrameLog } from "./frame-log.ts";
import type { Listener } from "./listener.ts";
import { isNumber } from "./parse-json.ts";
import type { State, StateValue } from "./schemas.ts";

/** The private messages that are kept for one user to catch up with. */
export const MAX_PRIVATE_FRAMES = 50;

export interface Change {
  readonly key: string;
  readonly value: StateValue;
}

/** A user as long as somebody remembers: a name, a state, the connections. */
export class User {
  readonly uuid = crypto.randomUUID();
  readonly name: string;
  readonly listeners = new Set<Listener>();
  readonly frames: FrameLog;
  publicKeys: readonly string[] = [];
  /** When something was last heard of or sent to the user, in ms (`performance.now()`). */
  lastActive: number;
  readonly #state = new Map<string, StateValue>();

  constructor(name: string, store: FrameBudget, now: number) {
    this.name = name;
    this.frames = new FrameLog(store);
    this.lastActive = now;
  }

  get state(): Readonly<Record<string, StateValue>> {
    return Object.fromEntries(this.#state);
  }

  get publicState(): Readonly<Record<string, StateValue>> {
    return Object.fromEntries([...this.#state].filter(([key]) => this.publicKeys.includes(key)));
  }

  /** About how many bytes the state would take with these values. */
  stateBytes(more: State): number {
    let bytes = 0;
    for (const [key, value] of new Map([...this.#state, ...more])) bytes += key.length + size(value);
    return bytes;
  }

  /** Takes values over and returns those that were not so before. */
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
