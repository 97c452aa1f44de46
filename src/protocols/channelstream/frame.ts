import { isObject, type JsonObject, parseJson } from "./parse-json.ts";
import type { Delivery } from "./schemas.ts";

/** The keys of a message that an edit may change. */
const EDITABLE = ["timestamp", "user", "message", "edited"] as const;

/** About what a frame takes beside its text, in bytes. */
const OVERHEAD = 400;

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

/** Something that keeps frames: the history of a room, what is there to catch up with. */
export interface FrameHolder {
  /** To drop a frame for which there is no room any more. */
  forget(frame: Frame): void;
}

/**
 * One message as clients get it, kept for those who are to catch up and for the history: as the text that was sent, and
 * read again by the few who ask.
 */
export class Frame {
  /** Frames are numbered in the order in which they were sent. */
  readonly seq: number;
  /** The message that it is, which may be edited and deleted; `null` for edits, deletions, presence and changes of state. */
  readonly uuid: string | null;
  readonly audience: Audience;
  /** Where it is kept; the store's own. */
  readonly homes: FrameHolder[] = [];
  /** JSON text. */
  readonly text: string;
  readonly #delivery: Delivery | null;

  /**
   * @param text JSON text, as clients get it
   * @param delivery what the history shows of how it was to be delivered; `null` for what is no caller's message
   */
  constructor(
    seq: number,
    uuid: string | null,
    text: string,
    audience: Audience = EVERYONE,
    delivery: Delivery | null = null,
  ) {
    this.seq = seq;
    this.uuid = uuid;
    this.audience = audience;
    this.#delivery = delivery;
    this.text = text;
  }

  /** About how much of the memory it takes. */
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

  /** JSON text for one who missed it. */
  get catchupText(): string {
    return JSON.stringify({ ...this.#read(), catchup: true });
  }

  /** What the history shows: with how it was delivered. */
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
    return isObject(read) ? read : {};
  }
}
