import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import {
  call as callChannelstream,
  type Json,
  list,
  object,
  openSocket,
  SECRET as SIGNING,
  startPolling,
} from "../channelstream/rig.ts";
import { enterGroups } from "../groups/groups-client.ts";
import {
  type ConnectOptions,
  connectPhoenix,
  eventually,
  mint,
  type PhoenixClient,
  WAYS,
} from "../phoenix-client.ts";
import { listenSse } from "../sse-client.ts";
import { type Backend, type BusName, SECRET, startWorld } from "../world.ts";
import { FLEET_SECRET, startFleet, TOML } from "./fleet-world.ts";

/*
 * Clients of every protocol in one channel, on one server or two.
 */

/** Settings of a test: top level, then tables. */
const TOP = "presence_events = false\nadmin_events = false\n";
const CHANNELSTREAM = `[channelstream]\nsecret = "${SIGNING}"\n`;

/** A client of any protocol, in one channel. */
export interface Client {
  readonly name: string;
  readonly id: string;
  /** The payloads of the event `say` up to `end`, as JSON texts. */
  upToEnd(): Promise<string[]>;
}

/** A client of Phoenix. */
export interface Joined extends Client {
  readonly phoenix: PhoenixClient;
}

export interface Place {
  readonly servers: readonly ChannelProcess[];
  readonly backend: Backend;
  readonly secret: string;
  stop(): Promise<void>;
}

/** One server on the embedded bus, or two on one Redis. */
export async function startPlace(bus: BusName, channels: string): Promise<Place> {
  const settings = TOP + channels + CHANNELSTREAM;
  if (bus === "embedded") {
    const world = await startWorld(bus, { toml: settings });
    return {
      servers: [world.channel],
      backend: world.backend,
      secret: SECRET,
      stop: () => world.stop(),
    };
  }
  const fleet = await startFleet(["one", "two"], { toml: TOML + settings });
  const { servers, backend } = fleet;
  return { servers, backend, secret: FLEET_SECRET, stop: () => fleet.stop() };
}

export function tokenOf(channel: string, id: string): string {
  return mint({ id, channel }, SECRET);
}

/** The connection of a user. */
async function connectionOf({ url }: ChannelProcess, user: string): Promise<string> {
  return eventually(async () => {
    const { body } = await call(url, "/api/connections?limit=200");
    const rows: { id: string; users: string[] }[] = body.connections;
    return rows.find(({ users }) => users.includes(user))?.id;
  }, `a connection of ${user}`);
}

export async function phoenix(
  server: ChannelProcess,
  channel: string,
  name: string,
  way: ConnectOptions,
  recover = false,
): Promise<Joined> {
  const client = await connectPhoenix(server.url, way);
  const payload = { token: tokenOf(channel, name), ...(recover ? { recover: null } : {}) };
  const { response } = await client.join(channel, payload);
  return {
    name,
    phoenix: client,
    id: String(Object(response).id).split(":")[0] ?? "",
    async upToEnd() {
      await client.frames.until(({ event, payload: end }) => event === "say" && end === "end", "the end");
      return client.frames.all
        .filter(({ event }) => event === "say")
        .map((each) => JSON.stringify(each.payload));
    },
  };
}

async function sse(server: ChannelProcess, channel: string, name: string): Promise<Client> {
  const reader = await listenSse(server.port, `/sse?channel=${channel}&token=${tokenOf(channel, name)}`);
  const payloads = (): unknown[] =>
    reader.events.all
      .filter(({ event }) => event === "message")
      .map(({ data }) => Object(JSON.parse(data)).payload);
  return {
    name,
    id: await connectionOf(server, name),
    async upToEnd() {
      await eventually(() => payloads().includes("end"), "the end");
      return payloads().map((each) => JSON.stringify(each));
    },
  };
}

async function groups(server: ChannelProcess, channel: string, name: string): Promise<Client> {
  const client = await enterGroups(server.url, tokenOf(channel, name));
  await client.follow({ [channel]: ["say"] });
  return {
    name,
    id: await connectionOf(server, name),
    async upToEnd() {
      await client.texts.until((text) => text === '"end"', "the end");
      return client.texts.all.slice(2);
    },
  };
}

async function channelstream(
  server: ChannelProcess,
  channel: string,
  name: string,
  polls: boolean,
): Promise<Client> {
  const body = { username: name, channels: [channel] };
  const answer = await callChannelstream(server.url, "POST", "/connect", body);
  const id = String(object(answer.body).conn_id);
  const ear = polls ? startPolling(server.url, id) : await openSocket(server.url, id);
  const payloadOf = ({ message }: Json): unknown => object(message ?? {}).payload;
  return {
    name,
    id: await connectionOf(server, name),
    async upToEnd() {
      await ear.inbox.until((each) => payloadOf(each) === "end", "the end");
      return list(ear.inbox.all)
        .map(payloadOf)
        .filter((each) => each !== undefined)
        .map((each) => JSON.stringify(each));
    },
  };
}

/** One client of each kind. */
export async function everyKind(server: ChannelProcess, channel: string): Promise<Client[]> {
  const at = `in ${channel} of ${server.port}`;
  return Promise.all([
    ...WAYS.map(({ vsn, transport, way }) => phoenix(server, channel, `${way} ${at}`, { vsn, transport })),
    phoenix(server, channel, `recovering ${at}`, {}, true),
    sse(server, channel, `sse ${at}`),
    groups(server, channel, `groups ${at}`),
    channelstream(server, channel, `socket ${at}`, false),
    channelstream(server, channel, `poll ${at}`, true),
  ]);
}
