import { Inbox, short } from "../inbox.ts";
import { openWebSocket, type RawSocket, type Refusal } from "../websocket.ts";

/** The nine group names of AWX, each with an entry of the kind that it has there. */
export const AWX_GROUPS: readonly (readonly [string, string | number])[] = [
  ["jobs", "status_changed"],
  ["schedules", "changed"],
  ["ad_hoc_command_events", 21],
  ["job_events", 22],
  ["workflow_events", 23],
  ["project_update_events", 24],
  ["inventory_update_events", 25],
  ["system_job_events", 26],
  ["control", "limit_reached_7"],
];

export interface GroupsOptions {
  /** `/groups` unless given. */
  readonly path?: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Changed {
  readonly current: readonly string[];
  readonly left: readonly string[];
  readonly joined: readonly string[];
}

/** A client of event groups that does nothing by itself. */
export interface GroupsClient {
  readonly socket: RawSocket;
  /** The text of every frame, in order; a binary one fails what waits. */
  readonly texts: Inbox<string>;
  /** The next frame, parsed. */
  next(): Promise<unknown>;
  send(message: unknown): void;
  sendText(text: string): void;
  /** Names its groups anew; `more` stands beside `groups` in the message. Fails on anything but the answer. */
  follow(
    groups: Readonly<Record<string, readonly unknown[]>>,
    more?: Readonly<Record<string, unknown>>,
  ): Promise<Changed>;
  /** Waits until what was sent before is handled and what it caused is here: the frames since the last reading. */
  fence(): Promise<unknown[]>;
}

export function addressOf(url: string, { path = "/groups", params = {} }: GroupsOptions): string {
  const query = new URLSearchParams(params);
  return query.size === 0 ? url + path : `${url}${path}?${query}`;
}

/** Asks for an upgrade; what it was answered if that is refused. */
export async function request(url: string, options: GroupsOptions = {}): Promise<GroupsClient | Refusal> {
  const texts = new Inbox<string>("groups client", short);
  const socket = await openWebSocket(addressOf(url, options), options.headers, ({ binary, data }) => {
    if (binary) texts.end("a binary frame");
    else texts.put(new TextDecoder("utf-8", { fatal: true }).decode(data));
  });
  if (!("messages" in socket)) return socket;
  void socket.closed.then(({ code, reason }) => texts.end(`closed with ${code} ${reason}`));
  const client: GroupsClient = {
    socket,
    texts,
    next: async () => JSON.parse(await texts.next()),
    send: (message) => socket.sendText(JSON.stringify(message)),
    sendText: (text) => socket.sendText(text),
    follow: async (groups, more = {}) => {
      client.send({ groups, ...more });
      return changedOf(await client.next());
    },
    fence: async () => {
      socket.ping("fence");
      await socket.pongs.next();
      return texts.take().map((text) => JSON.parse(text));
    },
  };
  return client;
}

/** Connects; fails when the upgrade is refused. */
export async function connectGroups(url: string, options: GroupsOptions = {}): Promise<GroupsClient> {
  const client = await request(url, options);
  if ("texts" in client) return client;
  throw new Error(`the upgrade was refused with ${client.status}: ${client.body}`);
}

/** Connects with a token in the URL and reads that it was accepted. */
export async function enterGroups(url: string, token: string): Promise<GroupsClient> {
  const client = await connectGroups(url, { params: { token } });
  const first = await client.texts.next();
  if (!/^\{"accept":true,"user":/.test(first)) throw new Error(`not accepted: ${first}`);
  return client;
}

/** Reads the answer to a message, strictly; each list sorted. */
export function changedOf(message: unknown): Changed {
  const value: Record<string, unknown> = Object(message);
  const keys = Object.keys(value).sort().join();
  if (keys !== "groups_current,groups_joined,groups_left") {
    throw new Error(`no answer to groups: ${short(JSON.stringify(message))}`);
  }
  return {
    current: names(value.groups_current),
    left: names(value.groups_left),
    joined: names(value.groups_joined),
  };
}

function names(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Error(`no list of names: ${short(JSON.stringify(value))}`);
  return value.map(String).sort();
}
