import type { JoinCode } from "../auth/token-codes.ts";
import type { Fields, Log } from "../log.ts";

/** Minimum time between two log lines about the same refusal, in ms. */
const PERIOD = 60_000;

/** Distinct refusals of one kind that are logged within a period; others are logged at debug level only. */
const MAX_KEYS = 32;

interface Seen {
  /** When the next line may be written. */
  next: number;
  /** Refusals since the last line. */
  times: number;
}

/**
 * Logs refusals, so that an operator finds the setting to change: each origin, host or join code once a minute with the number
 * of refusals since its last line (`times`), and every refusal at debug level.
 */
export class RefusalLog {
  readonly #log: Log;
  readonly #origins = new Map<string, Seen>();
  readonly #hosts = new Map<string, Seen>();
  readonly #joins = new Map<string, Seen>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** A request with a foreign `Origin`. `reason` names the setting that refused it. */
  origin(origin: string, reason: string, address: string): void {
    const times = due(this.#origins, origin);
    this.#write("warn", times, "origin refused", { origin, reason, address });
  }

  /** A request with an unknown `Host`. */
  host(host: string, reason: string, address: string): void {
    this.#write("warn", due(this.#hosts, host), "host refused", { host, reason, address });
  }

  /** A join, or the token of a socket that requires one. `fields`: the channel, client and so on. */
  join(reason: string, code: JoinCode, fields: Fields): void {
    this.#write("info", due(this.#joins, code), "join refused", { reason, code, ...fields });
  }

  #write(level: "info" | "warn", times: number, message: string, fields: Fields): void {
    if (times === 0) this.#log.debug(message, fields);
    else this.#log[level](message, times === 1 ? fields : { ...fields, times });
  }
}

/** The number of refusals since the last line if another line is due, else 0. */
function due(seen: Map<string, Seen>, key: string): number {
  const now = performance.now();
  let entry = seen.get(key);
  if (entry === undefined) {
    if (seen.size >= MAX_KEYS) for (const [old, { next }] of seen) if (next <= now) seen.delete(old);
    if (seen.size >= MAX_KEYS) return 0;
    entry = { next: now, times: 0 };
    seen.set(key, entry);
  }
  entry.times++;
  if (now < entry.next) return 0;
  const { times } = entry;
  entry.next = now + PERIOD;
  entry.times = 0;
  return times;
}
