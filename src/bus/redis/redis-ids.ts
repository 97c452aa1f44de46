import type { MessageGroup } from "../bus.ts";
import { type Claim, ID_TTL, MAX_IDS, type PublishedIds, type PublishedOnce } from "../published-ids.ts";
import { printHub } from "../topics.ts";
import { lacksScripts } from "./redis-commands.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/**
 * Claims a key and publishes. KEYS: the key. ARGV: its time to live in ms, the payload, the name and payload of the note (empty:
 * none), the names. Returns `{"known", answer}`, `{"new", whether noted}` or `{"refused", error}`: nothing was published then,
 * except before Redis 7, where only the first name is checked.
 */
const PUBLISH_ONCE = `
local known = redis.call('GET', KEYS[1])
if known then return {'known', known} end
for i = 5, #ARGV do
  if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', ARGV[i], '') then return {'refused', 'NOPERM'} end
end
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
local function publish(name, payload)
  local done = redis.pcall('PUBLISH', name, payload)
  return type(done) == 'table' and done.err
end
local noted = ARGV[3] ~= '' and not publish(ARGV[3], ARGV[4])
for i = 5, #ARGV do
  local err = publish(ARGV[i], ARGV[2])
  if err then
    if i == 5 then redis.call('DEL', KEYS[1]) end
    return {'refused', err}
  end
end
if noted then publish(ARGV[3], ARGV[4]) end
return {'new', noted and '1' or ''}
`;

/** Time for which ids are counted together, in ms. */
const SLOT = ID_TTL / 30;

/** Ids in Redis: a key each, `hub:id:<key>`, the same for all servers. */
export class RedisIds implements PublishedIds {
  readonly #connection: RedisFleetConnection;
  readonly #start: string;
  /** New ids of this server by slot of time, the oldest first: each is counted until it has expired. */
  #counts: { readonly until: number; count: number }[] = [];
  readonly #max: number;
  readonly #now: () => number;
  #permitsScripts = true;

  /** @param max new ids within their time to live @param now in ms */
  constructor(connection: RedisFleetConnection, max = MAX_IDS, now: () => number = () => performance.now()) {
    this.#connection = connection;
    this.#max = max;
    this.#now = now;
    this.#start = connection.prefix + printHub("id:");
  }

  async publish(key: string, { names, payload, note }: MessageGroup): Promise<PublishedOnce> {
    if (!this.#permitsScripts) return { kind: "unsupported" };
    if (this.#isFull()) return { kind: "full" };
    const { prefix } = this.#connection;
    const args = [
      ...[ID_TTL, Buffer.from(payload)],
      ...(note === null ? ["", ""] : [prefix + note.name, Buffer.from(note.payload)]),
      ...names.map((name) => prefix + name),
    ];
    const reply = await this.#run([this.#start + key, ...args]);
    if (reply === "unsupported") return { kind: reply };
    const [kind, detail]: unknown[] = Array.isArray(reply) ? reply : [];
    if (kind === "known") return { kind, answer: String(detail) };
    if (kind === "refused") return { kind };
    if (kind !== "new") return { kind: "away" };
    this.#count();
    return { kind: "done", noted: detail !== "" };
  }

  async claim(key: string): Promise<Claim> {
    if (this.#isFull()) return { kind: "full" };
    const name = this.#start + key;
    const set = await this.#connection.ask(async (redis) => [await redis.set(name, "", "PX", ID_TTL, "NX")]);
    if (set === null) return { kind: "away" };
    if (set[0] === "OK") {
      this.#count();
      return { kind: "new" };
    }
    return { kind: "known", answer: (await this.#connection.ask((redis) => redis.get(name))) ?? "" };
  }

  async has(key: string): Promise<boolean> {
    return (await this.#connection.ask((redis) => redis.exists(this.#start + key))) === 1;
  }

  release(key: string): void {
    void this.#connection.ask((redis) => redis.del(this.#start + key));
  }

  keep(key: string, answer: string): void {
    void this.#connection.ask((redis) => redis.set(this.#start + key, answer, "KEEPTTL", "XX"));
  }

  /** Runs the script; `null` without an answer. */
  #run([key = "", ...args]: readonly (string | number | Buffer)[]): Promise<unknown> {
    const { log, shown: where } = this.#connection;
    return this.#connection.ask(async (redis) => {
      try {
        return await redis.eval(PUBLISH_ONCE, 1, key, ...args);
      } catch (error) {
        if (!lacksScripts(error)) throw error;
        this.#permitsScripts = false;
        const message = "Redis permits no scripts, ids of publications are set before publishing";
        log.warn(message, { where, reason: error.message });
        return "unsupported";
      }
    });
  }

  #isFull(): boolean {
    const now = this.#now();
    this.#counts = this.#counts.filter(({ until }) => until > now);
    return this.#counts.reduce((sum, { count }) => sum + count, 0) >= this.#max;
  }

  #count(): void {
    const now = this.#now();
    const newest = this.#counts.at(-1);
    if (newest !== undefined && newest.until > now + ID_TTL) newest.count++;
    else this.#counts.push({ until: now + ID_TTL + SLOT, count: 1 });
  }
}
