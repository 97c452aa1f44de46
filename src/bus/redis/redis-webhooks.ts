import { createHash } from "node:crypto";
import { WEBHOOK_EVENTS } from "../../config/webhook-events.ts";
import {
  type BatchOutcome,
  COLLECT,
  GAP_EVERY,
  LEASE,
  MAX_BATCH,
  MAX_EVENTS,
  type MembershipWrite,
  type Polled,
  type SharedMembers,
  STREAMS,
  streamOf,
  VACANT_AFTER,
  type WebhookBatch,
  type WebhookError,
  type WebhookEvent,
  type WebhookStatus,
  type WebhookStore,
  type WebhookStoreOptions,
} from "../../hub/webhooks/webhook-store.ts";
import { printHub } from "../topics.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";
import { ADD, FINISH, POLL, RELEASE, WRITE } from "./webhook-scripts.ts";

/** Channels that one poll vacates. */
const VACATED_AT_ONCE = 1000;

/** Changes in one call of a script: Redis runs no other command meanwhile. */
const CHANGES_AT_ONCE = 500;

/** Elements of one step of a scan. */
const SCAN_COUNT = 1000;

/** `hub:{w<n>}:...`: the braces keep all keys of a stream in one slot of a cluster. */
interface StreamKeys {
  readonly events: string;
  readonly lease: string;
  readonly batch: string;
  readonly vacant: string;
  readonly error: string;
  readonly gap: string;
  readonly servers: string;
  /** Followed by a channel: a hash of its members. */
  readonly members: string;
  /** Followed by an incarnation: a hash of its channels. */
  readonly channels: string;
}

class Script {
  readonly text: string;
  readonly sha: string;

  constructor(text: string) {
    this.text = text;
    this.sha = createHash("sha1").update(text).digest("hex");
  }
}

const SCRIPTS = {
  write: new Script(WRITE),
  add: new Script(ADD),
  poll: new Script(POLL),
  finish: new Script(FINISH),
  release: new Script(RELEASE),
};

/** Keeps members and events in Redis, for all servers. */
export class RedisWebhookStore implements WebhookStore {
  readonly shared: SharedMembers = this.#members();
  readonly #connection: RedisFleetConnection;
  readonly #keys: readonly StreamKeys[];
  /** The first arguments of scripts that add events. */
  readonly #limits: readonly (string | number)[];
  readonly #vacantAfter: number;

  constructor(connection: RedisFleetConnection, options: WebhookStoreOptions) {
    const { events, maxEvents = MAX_EVENTS, vacantAfter = VACANT_AFTER } = options;
    this.#connection = connection;
    this.#keys = Array.from({ length: STREAMS }, (_, n) => keysOf(connection.prefix + printHub(`{w${n}}:`)));
    this.#limits = [` ${[...events].join(" ")} `, maxEvents, GAP_EVERY];
    this.#vacantAfter = vacantAfter;
  }

  get ready(): boolean {
    return this.#connection.ready;
  }

  start(opened: () => void): void {
    this.#connection.onOpen(opened);
    void this.#connection.start();
  }

  async write(server: string, writes: readonly MembershipWrite[]): Promise<number | null> {
    const parts = writes.flatMap((write) => inParts(write));
    const answers = await Promise.all(parts.map((each) => this.#writeChannel(server, each)));
    let dropped = 0;
    for (const answer of answers) {
      if (answer === null) return null;
      dropped += answer;
    }
    return dropped;
  }

  async add({ event, channel, at }: WebhookEvent): Promise<number | null> {
    const { events, gap } = this.#keysOf(streamOf(channel));
    return numberOf(await this.#run(SCRIPTS.add, [events, gap], [...this.#limits, event, channel, at]));
  }

  async poll(stream: number, owner: string, leaseOnly: boolean): Promise<Polled | null> {
    const { events, lease, batch, vacant, gap } = this.#keysOf(stream);
    const answer = await this.#run(
      SCRIPTS.poll,
      [events, lease, batch, vacant, gap],
      [...this.#limits, owner, LEASE, leaseOnly ? 0 : MAX_BATCH, COLLECT, VACATED_AT_ONCE],
    );
    if (answer === undefined) return null;
    if (!Array.isArray(answer)) return { kind: "other" };
    const [backlog, dropped, last, at, entries]: unknown[] = answer;
    const counts = { backlog: Number(backlog), dropped: Number(dropped) };
    if (typeof last !== "string") return { kind: "idle", ...counts };
    const found = listOf(entries).flatMap(readEvent);
    // A stream that another process has written to.
    if (found.length === 0) {
      await this.finish(stream, owner, { id: printId(stream, last), at: 0, events: [] }, "delivered");
      return { kind: "idle", ...counts };
    }
    return { kind: "batch", ...counts, batch: { id: printId(stream, last), at: Number(at), events: found } };
  }

  async finish(
    stream: number,
    owner: string,
    { id }: WebhookBatch,
    outcome: BatchOutcome,
  ): Promise<boolean | null> {
    const { events, lease, batch, error, gap } = this.#keysOf(stream);
    const delivered = outcome === "delivered" ? 1 : 0;
    const answer = await this.#run(
      SCRIPTS.finish,
      [events, lease, batch, error, gap],
      [...this.#limits, owner, lastOf(id), delivered],
    );
    return answer === undefined ? null : answer === 1;
  }

  async failed(stream: number, error: WebhookError): Promise<void> {
    await this.#connection.ask((redis) => redis.set(this.#keysOf(stream).error, JSON.stringify(error)));
  }

  async release(stream: number, owner: string): Promise<void> {
    await this.#run(SCRIPTS.release, [this.#keysOf(stream).lease], [owner]);
  }

  async status(): Promise<WebhookStatus | null> {
    const answers = await this.#connection.ask((redis) =>
      Promise.all(this.#keys.map(({ events, error }) => Promise.all([redis.xlen(events), redis.get(error)]))),
    );
    if (answers === null) return null;
    let backlog = 0;
    let lastError: WebhookError | null = null;
    for (const [length, text] of answers) {
      backlog += length;
      const error = text === null ? null : readError(text);
      if (error !== null && error.at >= (lastError?.at ?? 0)) lastError = error;
    }
    return { backlog, lastError };
  }

  stop(): void {
    this.#connection.stop();
  }

  #members(): SharedMembers {
    return {
      serversOf: (stream) => this.#connection.ask((redis) => redis.smembers(this.#keysOf(stream).servers)),
      channelsOf: async (stream, server) => {
        const pairs = await this.#scan(this.#keysOf(stream).channels + server);
        return pairs === null ? null : [...new Set(pairs.filter((_, at) => at % 2 === 0))];
      },
      usersOf: async (channel, server) => {
        const pairs = await this.#scan(this.#keysOf(streamOf(channel)).members + channel);
        if (pairs === null) return null;
        const users = new Set<string | null>();
        for (let at = 0; at + 1 < pairs.length; at += 2)
          if (pairs[at + 1]?.includes(` ${server} `)) users.add(userOf(pairs[at] ?? ""));
        return [...users];
      },
    };
  }

  /** The fields and values of a hash, in turn; a field may be there twice. */
  async #scan(key: string): Promise<string[] | null> {
    const found: string[] = [];
    let cursor = "0";
    do {
      const answer = await this.#connection.ask((redis) => redis.hscan(key, cursor, "COUNT", SCAN_COUNT));
      if (answer === null) return null;
      cursor = answer[0];
      for (const each of answer[1]) found.push(each);
    } while (cursor !== "0");
    return found;
  }

  async #writeChannel(server: string, write: MembershipWrite): Promise<number | null> {
    const { channel, changes } = write;
    const { events, members, vacant, channels, servers, gap } = this.#keysOf(streamOf(channel));
    const args = [server, channel, this.#vacantAfter];
    const fields = changes.flatMap(({ kind, user, at }) => [kind, fieldOf(user), at]);
    const keys = [events, members + channel, vacant, channels + server, servers, gap];
    return numberOf(await this.#run(SCRIPTS.write, keys, [...this.#limits, ...args, ...fields]));
  }

  /** The reply of a script; `undefined` without one. */
  async #run(
    { sha, text }: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const answer = await this.#connection.ask(async (redis) => {
      try {
        return [await redis.evalsha(sha, keys.length, ...keys, ...args)];
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
        return [await redis.eval(text, keys.length, ...keys, ...args)];
      }
    });
    return answer === null ? undefined : answer[0];
  }

  #keysOf(stream: number): StreamKeys {
    const keys = this.#keys[stream];
    if (keys === undefined) throw new RangeError(`no stream ${stream}`);
    return keys;
  }
}

function keysOf(start: string): StreamKeys {
  return {
    events: `${start}events`,
    lease: `${start}lease`,
    batch: `${start}batch`,
    vacant: `${start}vacant`,
    error: `${start}error`,
    gap: `${start}gap`,
    servers: `${start}servers`,
    members: `${start}members:`,
    channels: `${start}channels:`,
  };
}

/** Several writes where there are too many changes for one. */
function inParts(write: MembershipWrite): MembershipWrite[] {
  const { changes } = write;
  if (changes.length <= CHANGES_AT_ONCE) return [write];
  const parts: MembershipWrite[] = [];
  for (let at = 0; at < changes.length; at += CHANGES_AT_ONCE)
    parts.push({ channel: write.channel, changes: changes.slice(at, at + CHANGES_AT_ONCE) });
  return parts;
}

function fieldOf(user: string | null): string {
  return user === null ? "" : `u${user}`;
}

function userOf(field: string): string | null {
  return field === "" ? null : field.slice(1);
}

/** The id of a batch: its stream and the id of its last entry. */
function printId(stream: number, last: string): string {
  return `${stream}-${last}`;
}

function lastOf(id: string): string {
  return id.slice(id.indexOf("-") + 1);
}

function readEvent(entry: unknown): WebhookEvent[] {
  const [, pairs] = listOf(entry);
  const fields = new Map<unknown, unknown>();
  const list = listOf(pairs);
  for (let at = 0; at + 1 < list.length; at += 2) fields.set(list[at], list[at + 1]);
  const event = WEBHOOK_EVENTS.find((name) => name === fields.get("e"));
  const [channel, user, at] = [fields.get("c"), fields.get("u"), Number(fields.get("a"))];
  if (event === undefined || typeof channel !== "string" || !Number.isFinite(at)) return [];
  return [{ event, channel, user: typeof user === "string" ? user : null, at }];
}

function readError(text: string): WebhookError | null {
  try {
    const { at, reason }: { at?: unknown; reason?: unknown } = Object(JSON.parse(text));
    return typeof at === "number" && typeof reason === "string" ? { at, reason } : null;
  } catch {
    return null;
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function numberOf(answer: unknown): number | null {
  return typeof answer === "number" ? answer : null;
}
