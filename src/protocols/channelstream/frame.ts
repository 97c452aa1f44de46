import type { JsonObject } from "../../auth/json-object.ts";
import { isRecord, parseJson } from "./parse-json.ts";
import type { Delivery } from "./schemas.ts";

/** The keys of a message that an edit may change. */
const EDITABLE = ["timestamp", "user", "message", "edited"] as const;

/** Approximate memory of a frame beside its text, in bytes. */
const OVERHEAD = 400;

/** The users that may see a frame. */
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

/** Keeps frames: the history of a channel, the frames to catch up with. */
export interface FrameHolder {
  /** Drops a frame that the budget no longer allows. */
  drop(frame: Frame): void;
}

/**
 * One message as clients get it, kept for the history and for clients that catch up. Kept as text, and parsed again only
 * when it is asked for.
 */
export class Frame {
  /** Frames are numbered in the order in which they were sent. */
  readonly seq: number;
  /** The uuid of a message, which may be edited and deleted; `null` for edits, deletions, presence and state changes. */
  readonly uuid: string | null;
  readonly audience: Audience;
  /** Its event: newer frames replace it for a client that does not keep up; `null`: never (presence, edits, deletions). */
  readonly event: string | null;
  /** Where it is kept; owned by `FrameBudget`. */
  readonly holders: FrameHolder[] = [];
  /** JSON text. */
  readonly text: string;
  readonly #delivery: Delivery | null;

  /**
   * @param text JSON text, as clients get it
   * @param delivery shown in the history; `null` for what is no caller's message
   * @param event see the property
   */
  constructor(
    seq: number,
    uuid: string | null,
    text: string,
    audience: Audience = EVERYONE,
    delivery: Delivery | null = null,
    event: string | null = null,
  ) {
    this.seq = seq;
    this.uuid = uuid;
    this.audience = audience;
    this.event = event;
    this.#delivery = delivery;
    this.text = text;
  }

  /** Approximate memory, in bytes. */
  get bytes(): number {
    return this.text.length * 2 + OVERHEAD;
  }

  /** Whether only some users may see it. */
  get restricted(): boolean {
    return this.audience.only !== null || this.audience.except !== null;
  }

  visibleTo(user: string): boolean {
    const { only, except } = this.audience;
    return except?.has(user) !== true && (only === null || only.has(user));
  }

  /** JSON text for a client that missed it. */
  get catchupText(): string {
    return JSON.stringify({ ...this.#read(), catchup: true });
  }

  /** The message with its delivery, as the history shows it. */
  get record(): JsonObject {
    const { pm_users = [], exclude_users = [], no_history = false } = this.#delivery ?? {};
    return { pm_users, exclude_users, no_history, ...this.#read() };
  }

  /** The same message after an edit. */
  edited(changes: JsonObject): Frame {
    const changed = EDITABLE.filter((key) => Object.hasOwn(changes, key)).map((key) => [key, changes[key]]);
    const wire: JsonObject = { ...this.#read(), ...Object.fromEntries(changed) };
    const text = JSON.stringify(Object.hasOwn(wire, "date") ? { ...wire, date: wire.timestamp } : wire);
    return new Frame(this.seq, this.uuid, text, this.audience, this.#delivery);
  }

  #read(): JsonObject {
    const read = parseJson(this.text);
    return isRecord(read) ? read : {};
  }
}
