import type { Delivery } from "./bodies.ts";
import { isObject, type JsonObject, parseJson } from "./json.ts";
import type { Home } from "./store.ts";

/** The keys of a message that an edit may change. */
const EDITABLE = ["timestamp", "user", "message", "edited"] as const;

export interface Audience {
  /** Only these users; `null`: all. */
  readonly only: ReadonlySet<string> | null;
  readonly except: ReadonlySet<string> | null;
}

export const EVERYONE: Audience = { only: null, except: null };

export function audienceOf({ pm_users, exclude_users }: Delivery): Audience {
  return {
    only: pm_users.length > 0 ? new Set(pm_users) : null,
    except: exclude_users.length > 0 ? new Set(exclude_users) : null,
  };
}

/**
 * One message as clients get it, kept for those who are to catch up and for the history. Its text is made once, however
 * many get it.
 */
export class Frame {
  /** Frames are numbered in the order in which they were sent. */
  readonly seq: number;
  readonly audience: Audience;
  /** Of a message; `null` for edits, deletions, presence and changes of state. */
  readonly uuid: string | null;
  /** Where it is kept; the store's own. */
  readonly homes: Home[] = [];
  /** About how much of the memory it takes, in bytes. */
  bytes: number;
  readonly #delivery: Delivery | null;
  #wire: JsonObject | null;
  #text: string | null;

  /**
   * @param content what clients see, or its JSON text, which is then left as it is
   * @param delivery what the history shows of how it was to be delivered; `null` for what is no caller's message
   */
  constructor(
    seq: number,
    uuid: string | null,
    content: JsonObject | string,
    audience: Audience = EVERYONE,
    delivery: Delivery | null = null,
  ) {
    this.seq = seq;
    this.uuid = uuid;
    this.audience = audience;
    this.#delivery = delivery;
    this.#wire = typeof content === "string" ? null : content;
    this.#text = typeof content === "string" ? content : null;
    this.bytes = this.text.length * 2;
  }

  /** Whether only some users may see it. */
  get restricted(): boolean {
    return this.audience.only !== null || this.audience.except !== null;
  }

  visibleTo(user: string): boolean {
    const { only, except } = this.audience;
    return except?.has(user) !== true && (only === null || only.has(user));
  }

  /** JSON text. */
  get text(): string {
    this.#text ??= JSON.stringify(this.#wire);
    return this.#text;
  }

  /** JSON text for one who missed it. */
  get catchupText(): string {
    return JSON.stringify({ ...this.wire, catchup: true });
  }

  get wire(): JsonObject {
    if (this.#wire !== null) return this.#wire;
    const parsed = parseJson(this.text);
    return isObject(parsed) ? parsed : {};
  }

  /** What the history shows: with how it was delivered. */
  get record(): JsonObject {
    const { pm_users = [], exclude_users = [], no_history = false } = this.#delivery ?? {};
    return { pm_users, exclude_users, no_history, ...this.wire };
  }

  /** Takes over what an edit changes. */
  edit(changes: JsonObject): void {
    const changed = EDITABLE.filter((key) => Object.hasOwn(changes, key)).map((key) => [key, changes[key]]);
    const wire: JsonObject = { ...this.wire, ...Object.fromEntries(changed) };
    this.#wire = Object.hasOwn(wire, "date") ? { ...wire, date: wire.timestamp } : wire;
    this.#text = null;
    this.bytes = this.text.length * 2;
  }
}
