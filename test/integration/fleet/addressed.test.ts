import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Signer } from "../../../src/fleet/signer.ts";
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
import { connectPhoenix, eventually, mint, type PhoenixClient, WAYS } from "../phoenix-client.ts";
import { listenSse } from "../sse-client.ts";
import { type Backend, type BusName, SECRET, startWorld } from "../world.ts";
import { FLEET_SECRET, startFleet, TOML } from "./fleet-world.ts";

/*
 * Messages on `hub:to`: to the members of a channel on all servers, except some, or to one of them.
 */

const SETTINGS = `presence_events = false\nadmin_events = false\n[channels."room*"]\nhistory = 100\n[channels."latest*"]\nslow = "latest"\n[channelstream]\nsecret = "${SIGNING}"\n`;

/** A client of any protocol, in one channel. */
interface Client {
  readonly name: string;
  readonly id: string;
  /** The payloads of the event `say` up to `end`, as JSON texts. */
  upToEnd(): Promise<string[]>;
}

interface Place {
  readonly servers: readonly ChannelProcess[];
  readonly backend: Backend;
  readonly secret: string;
  stop(): Promise<void>;
}

async function startPlace(bus: BusName): Promise<Place> {
  if (bus === "embedded") {
    const world = await startWorld(bus, { toml: SETTINGS });
    return {
      servers: [world.channel],
      backend: world.backend,
      secret: SECRET,
      stop: () => world.stop(),
    };
  }
  const fleet = await startFleet(["one", "two"], { toml: TOML + SETTINGS });
  const { servers, backend } = fleet;
  return { servers, backend, secret: FLEET_SECRET, stop: () => fleet.stop() };
}

function tokenOf(channel: string, id: string): string {
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

async function phoenix(
  server: ChannelProcess,
  channel: string,
  name: string,
  way: Parameters<typeof connectPhoenix>[1],
  recover = false,
): Promise<Client & { readonly phoenix: PhoenixClient }> {
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
async function everyKind(server: ChannelProcess, channel: string): Promise<Client[]> {
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

describe.each(["redis", "embedded"] satisfies BusName[])("addressed messages (%s)", (bus) => {
  let place: Place;
  beforeAll(async () => {
    place = await startPlace(bus);
  }, 60_000);
  afterAll(() => place?.stop());

  /** Publishes as a server does. */
  async function address(
    channel: string,
    payload: string,
    { except = [] as readonly string[], connection = null as string | null, secret = place.secret } = {},
  ): Promise<void> {
    const envelope = JSON.stringify([channel, "say", except, connection, null]);
    await place.backend.publish("hub:to", new Signer([secret], "").sign("hub:to", `${envelope}\n${payload}`));
  }

  for (const channel of ["room", "latest"]) {
    test(`reach every member of ${channel} but the excluded ones, in the order of the messages on to:`, async () => {
      const clients = (await Promise.all(place.servers.map((server) => everyKind(server, channel)))).flat();
      const excluded = clients.filter((_, i) => i % 2 === 0);
      const except = [...excluded, ...excluded].map(({ id }) => id);
      for (let i = 0; i < 20; i++) {
        void place.backend.publish(`to:${channel}:say`, `${3 * i}`);
        void address(channel, `${3 * i + 1}`, { except: [...except, "nobody"] });
        void address(channel, `${3 * i + 2}`);
      }
      const [only] = clients;
      await address(channel, '"for one"', { connection: only?.id ?? "" });
      await place.backend.publish(`to:${channel}:say`, '"end"');
      for (const client of clients) {
        const expected = [...Array(60).keys()]
          .filter((i) => !excluded.includes(client) || i % 3 !== 1)
          .map(String);
        const own = client === only ? ['"for one"'] : [];
        expect({ [client.name]: await client.upToEnd() }).toEqual({
          [client.name]: [...expected, ...own, '"end"'],
        });
      }
    });
  }

  test("one connection of each protocol gets what is for it alone", async () => {
    const clients = (await Promise.all(place.servers.map((server) => everyKind(server, "room1")))).flat();
    for (const { id, name } of clients) await address("room1", JSON.stringify(name), { connection: id });
    await place.backend.publish("to:room1:say", '"end"');
    for (const client of clients)
      expect(await client.upToEnd()).toEqual([JSON.stringify(client.name), '"end"']);
  });

  test("pass on the payload unchanged, binary too, with a newline in it", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room2", "bytes", {});
    const text = '{ "n":12345678901234567890,\n"__proto__":1, "n":2 }';
    await address("room2", text);
    expect((await client.event("say")).text).toBe(`[null,null,"room2","say",${text}]`);
    const envelope = Buffer.from(`${JSON.stringify(["room2", "say", [], null, null])}\n`);
    const bytes = Buffer.from([0, 255, 10, 10]);
    const signer = new Signer([place.secret], "");
    await place.backend.publish("hub:to", signer.signBytes("hub:to", Buffer.concat([envelope, bytes])));
    expect((await client.event("say")).payload).toEqual(bytes);
  });

  test("are not kept, and have no place among the positions", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room3", "first", {}, true);
    await place.backend.publish("to:room3:say", "1");
    await address("room3", "2");
    await place.backend.publish("to:room3:say", "3");
    const frames = [await client.event("say"), await client.event("say"), await client.event("say")];
    const numbers = frames.map(({ ref }) => (ref === null ? null : Number(String(ref).split("-").at(-1))));
    const [first, second, third] = numbers;
    expect([second, third]).toEqual([null, Number(first) + 1]);
    const late = await connectPhoenix(server.url);
    await late.join("room3", { token: tokenOf("room3", "late"), recover: null, replay: 10 });
    expect([(await late.event("say")).payload, (await late.event("say")).payload]).toEqual([1, 3]);
  });

  test("are ignored if another secret, or none, signed them", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room4", "alone", {});
    await address("room4", "1", { secret: "a-secret-of-no-server-of-these-tests" });
    await place.backend.publish("hub:to", `${JSON.stringify(["room4", "say", [], null, null])}\n2`);
    await address("room4", "3");
    expect((await client.event("say")).payload).toBe(3);
  });
});
