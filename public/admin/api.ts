import { errorMessageOf } from "../shared/page.ts";

/** A response of the server; `error` is a sentence to show. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly status: number; readonly error: string };

let signedOut: () => void = () => {};

/** Sets the callback for a response with status 401. */
export function onSignedOut(callback: () => void): void {
  signedOut = callback;
}

export interface Snapshot {
  /** Incarnations of the servers that are summed. */
  readonly servers?: readonly string[];
  readonly at: number;
  readonly connections: Readonly<Record<string, number>>;
  readonly listeners: Readonly<Record<string, number>>;
  readonly channels: number;
  readonly received: Traffic;
  readonly delivered: Traffic;
  readonly pushed: Traffic;
  readonly dropped: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
  readonly closed: Readonly<Record<string, number>>;
  readonly unsendable: number;
  readonly joins: number;
  readonly opened: number;
  readonly buffered: number;
  readonly memory: number;
  readonly loop_delay: number;
  readonly bus: {
    readonly kind: string;
    readonly live: boolean;
    readonly detail: string;
    readonly gaps: number;
    readonly since: number;
  };
}

export interface Traffic {
  readonly messages: number;
  readonly bytes: number;
}

export interface Stats extends Snapshot {
  readonly version: string;
  readonly node: string;
  readonly started: number;
}

export interface ServerRow {
  readonly name: string;
  readonly incarnation: string;
  readonly self: boolean;
  readonly state: "up" | "draining" | "silent" | "stopped" | "dead";
  readonly version: string;
  readonly address: string;
  readonly uptime: number;
  readonly connections: number;
  readonly channels: number;
  readonly rates: { readonly received: number; readonly delivered: number; readonly pushed: number };
  readonly cpu: number;
  readonly memory: number;
  readonly loop_delay: number;
  readonly gaps: number;
  readonly lag: number | null;
}

/** Whether a server answered; with what it did for an action. */
export interface ServerResult {
  readonly name: string;
  readonly ok: boolean;
  readonly disconnected?: number;
  readonly kicked?: number;
}

export interface Series {
  readonly interval: number;
  readonly at: readonly number[];
  readonly values: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface ActRow {
  readonly at: number;
  readonly server: string;
  readonly act: string;
  readonly who: string;
  readonly from: string;
  readonly what: Readonly<Record<string, string>>;
  readonly result: string;
}

export interface BusSeen {
  readonly kind: "redis" | "amqp" | "embedded";
  readonly live: boolean;
  readonly detail: string;
  readonly gaps: number;
  readonly since: number;
}

export interface ProcessRow {
  readonly name: string;
  readonly incarnation: string;
  readonly pid: number;
  readonly version: string;
  readonly runtime: string;
  readonly platform: string;
  readonly uptime: number;
  readonly cpu: number;
  readonly memory: {
    readonly rss: number;
    readonly heap_used: number;
    readonly external: number;
  };
  readonly loop_delay: number;
  readonly descriptors: { readonly open: number | null; readonly limit: number | null };
  readonly connections: number;
  readonly buffered: number;
  readonly bus: BusSeen;
}

export interface BusNode {
  readonly where: string;
  readonly ping_ms: number | null;
  readonly info: Readonly<Record<string, string>> | null;
  readonly output_buffer_limit: number | null;
}

export interface BusAnswer extends BusSeen {
  readonly reason: string | null;
  readonly nodes: readonly BusNode[];
}

export interface ChannelRow {
  readonly name: string;
  readonly members: number;
  readonly users: number | null;
  readonly listeners: Readonly<Record<string, number>>;
  readonly sent: number;
  readonly sent_bytes: number;
  readonly left_out: number;
  readonly pushed: number;
  readonly pushed_bytes: number;
  readonly rate: number;
  readonly last_active: number | null;
  readonly recoveries: Readonly<Record<string, number>>;
  readonly history: { readonly messages: number; readonly bytes: number; readonly limit: number } | null;
}

export interface HistoryMessage {
  readonly position: string | null;
  readonly event: string;
  readonly payload?: unknown;
  readonly base64?: string;
  readonly at: number;
}

export interface MemberRow {
  readonly agent: string;
  readonly connection: string;
  readonly join_ref: string;
  readonly user: string;
  readonly since: number;
  readonly address: string;
  readonly server: string;
  readonly recovery: string | null;
}

export interface ConnectionRow {
  readonly id: string;
  readonly protocol: string;
  readonly address: string;
  readonly users: readonly string[];
  readonly channels: readonly string[];
  readonly channel_count: number;
  readonly buffered: number;
  readonly opened_at: number;
  readonly last_seen: number;
  readonly server: string;
}

/** Response bodies by operation, as in /openapi.json. Not validated: pages and server are of the same build. */
interface Responses {
  "GET api/stats": Stats;
  "GET api/history": { readonly interval: number; readonly snapshots: readonly Snapshot[] };
  "GET api/series": Series;
  "GET api/channels/{name}/series": Series;
  "GET api/channels": {
    readonly matching: number;
    readonly total: number;
    readonly channels: readonly ChannelRow[];
    readonly servers: readonly ServerResult[];
  };
  "GET api/servers": { readonly servers: readonly ServerRow[] };
  "GET api/channels/{name}": ChannelRow & {
    readonly matching: number;
    readonly listed: readonly MemberRow[];
    readonly servers: readonly ServerResult[];
  };
  "GET api/channels/{name}/history": {
    readonly position: string | null;
    readonly messages: readonly HistoryMessage[];
  };
  "GET api/connections": {
    readonly matching: number;
    readonly total: number;
    readonly connections: readonly ConnectionRow[];
    readonly servers: readonly ServerResult[];
  };
  "GET api/audit": {
    readonly matching: number;
    readonly total: number;
    readonly acts: readonly ActRow[];
    readonly servers: readonly ServerResult[];
  };
  "GET api/processes": {
    readonly processes: readonly ProcessRow[];
    readonly servers: readonly ServerResult[];
  };
  "GET api/bus": BusAnswer;
  "DELETE api/connections/{id}": { readonly disconnected: number; readonly servers: readonly ServerResult[] };
  "POST api/publish": { readonly listeners: number };
  "POST api/disconnect": {
    readonly disconnected: number;
    readonly servers: readonly ServerResult[];
    readonly banned_until: number | null;
  };
  "GET api/bans": { readonly bans: readonly { readonly id: string; readonly until: number }[] };
  "DELETE api/bans/{id}": { readonly lifted: true; readonly servers: readonly ServerResult[] };
  "POST api/kick": { readonly kicked: number; readonly servers: readonly ServerResult[] };
  "POST api/tokens": { readonly id: string; readonly token: string; readonly expires_at: number };
}

export interface Call {
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
  /** Replaces the `{parameter}` of the path. */
  readonly path?: string;
  /** How long an answer is waited for, in ms. Default: `TIMEOUT`. */
  readonly timeout?: number;
}

/** Longer than a server waits for others, and for Redis. */
const TIMEOUT = 30_000;

/** Calls an operation such as `GET api/channels`. Never rejects. */
export async function call<K extends keyof Responses>(
  operation: K,
  options: Call = {},
): Promise<Result<Responses[K]>> {
  const [method = "GET", address = ""] = operation.split(" ");
  const path = address.replace(/\{\w+\}/, () => encodeURIComponent(options.path ?? ""));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) query.set(name, String(value));
  try {
    const response = await fetch(query.size === 0 ? path : `${path}?${query}`, {
      method,
      signal: AbortSignal.timeout(options.timeout ?? TIMEOUT),
      ...(options.body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(options.body) }),
    });
    if (response.status === 401) signedOut();
    if (!response.ok) return { ok: false, status: response.status, error: await errorMessageOf(response) };
    return { ok: true, value: await response.json() };
  } catch {
    return { ok: false, status: 0, error: "No response from the server." };
  }
}
