import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { call as callChannelstream, type Json, list, object } from "../channelstream/rig.ts";
import { connectPhoenix, encodeBinary, eventually, mint, type TokenClaims, WAYS } from "../phoenix-client.ts";
import { type BusName, SECRET, startWorld } from "../world.ts";
import { everyKind, type Joined, type Place, phoenix, startPlace, tokenOf } from "./every-protocol.ts";

/*
 * Pushes that the other members of a channel get.
 */

const CHANNELS = `
[channels."room*"]
client_events = ["say", "draw*"]
sender = true
history = 100
[channels."named*"]
client_events = ["say"]
client_events_sender = true
[channels."open*"]
client_events = ["*"]
[channels."*"]
client_events = ["*"]
`;
const LIMIT = "[limits]\nclient_events_per_second = 5\nmax_payload = 4096\n";

describe.each(["redis", "embedded"] satisfies BusName[])("client events (%s)", (bus) => {
  let place: Place;
  let first: ChannelProcess;
  let last: ChannelProcess;
  beforeAll(async () => {
    place = await startPlace(bus, CHANNELS + LIMIT);
    const [one] = place.servers;
    if (one === undefined) throw new Error("a server");
    first = one;
    last = place.servers[1] ?? one;
  }, 60_000);
  afterAll(() => place?.stop());

  /** A counter of the first server; 0 before it was first counted. */
  async function metric(name: string): Promise<number> {
    const { body } = await call(first.url, "/metrics");
    const line = String(body)
      .split("\n")
      .find((each) => each.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1) ?? 0);
  }

  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: all other members get them in order, on every server and over every protocol, and backends as always`, async () => {
      const channel = `room-${transport}-${vsn}`;
      const others = (await Promise.all(place.servers.map((server) => everyKind(server, channel)))).flat();
      const sender = await phoenix(first, channel, "alice", { vsn, transport });
      const same = await phoenix(last, channel, "alice", {});
      const bare = await place.backend.listenToPushes(channel);
      const named = await place.backend.listen(`push:${channel}:*`);
      const counted = await metric("channel_client_events_total");
      for (let i = 0; i < 40; i++) {
        sender.phoenix.send({ joinRef: null, ref: `r${i}`, topic: channel, event: "say", payload: `${i}` });
      }
      for (let i = 0; i < 40; i++) expect((await sender.phoenix.reply(`r${i}`)).status).toBe("ok");
      await place.backend.publish(`to:${channel}:say`, '"end"');
      const sent = [...Array(40).keys()].map(String);
      for (const client of [...others, same]) {
        expect({ [client.name]: await client.upToEnd() }).toEqual({ [client.name]: [...sent, '"end"'] });
      }
      expect(await sender.upToEnd()).toEqual(['"end"']);
      const got = async (inbox: typeof bare): Promise<string[]> => {
        const payloads: string[] = [];
        while (payloads.length < 40) payloads.push(String((await inbox.next()).payload));
        return payloads;
      };
      expect(await got(bare)).toEqual(sent);
      expect((await got(named)).map((each) => JSON.parse(each).payload)).toEqual(sent.map(Number));
      expect((await metric("channel_client_events_total")) - counted).toBe(40);
      // Nothing of it is kept.
      const late = await connectPhoenix(last.url);
      await late.join(channel, { token: tokenOf(channel, "late"), recover: null, replay: 100 });
      expect((await late.event("say")).payload).toBe("end");
    });
  }

  test("are listed in the answer to a join of a member that may push, and in no other", async () => {
    for (const { vsn, transport } of WAYS) {
      const client = await connectPhoenix(first.url, { vsn, transport });
      const answer = async (channel: string, join: Record<string, unknown>, can?: TokenClaims["can"]) => {
        const token = mint({ id: "alice", channel, ...(can === undefined ? {} : { can }) }, SECRET);
        const { response } = await client.join(channel, { token, ...join });
        const { id: _, ...rest } = object(response ?? {});
        return rest;
      };
      const listed = { client_events: ["say", "draw*"] };
      expect(await answer("room-listing", {})).toEqual(listed);
      expect(await answer("room-listing", {}, ["join", "presence"])).toEqual({});
      const position = expect.any(String);
      expect(await answer("room-listing", { recover: null })).toEqual({
        position,
        recovered: null,
        ...listed,
      });
      expect(await answer("room-listing", { recover: "none" }, ["join"])).toEqual({
        position,
        recovered: false,
        reason: "unknown position",
      });
      expect(await answer("open-listing", {})).toEqual({ client_events: ["*"] });
      expect(await answer("system", {})).toEqual({});
      client.socket.cut();
    }
  });

  /** Two members of a channel, on two servers if there are two. */
  async function pair(channel: string, id = "mallory"): Promise<[Joined, Joined]> {
    return [await phoenix(first, channel, id, {}), await phoenix(last, channel, "bob", {})];
  }

  test("have the payload unchanged, behind the user where the channel says so, whatever the payload says", async () => {
    const payload = '{ "user":"alice", "n":12345678901234567890, "__proto__":1, "n":2 }';
    const quoted = 'mal"lory\u2028';
    for (const [channel, text] of [
      ["room-bare", payload],
      ["named-1", `{"user":${JSON.stringify(quoted)},"payload":${payload}}`],
    ] as const) {
      const [sender, other] = await pair(channel, quoted);
      const reply = await sender.phoenix.ask({ joinRef: null, topic: channel, event: "say", payload });
      expect(reply.status).toBe("ok");
      expect((await other.phoenix.event("say")).text).toBe(`[null,null,"${channel}","say",${text}]`);
    }
  });

  test("may be binary: as they are, or base64 behind the user", async () => {
    const data = Buffer.from([0, 255, 10, 10]);
    for (const [channel, payload] of [
      ["room-binary", data],
      ["named-binary", { user: "mallory", base64: "AP8KCg==" }],
    ] as const) {
      const [sender, other] = await pair(channel);
      sender.phoenix.sendBinary(encodeBinary({ joinRef: "1", ref: "9", topic: channel, event: "say", data }));
      expect((await sender.phoenix.reply("9")).status).toBe("ok");
      expect((await other.phoenix.event("say")).payload).toEqual(payload);
    }
  });

  test("are those that the channel names, of members that may push", async () => {
    const [sender, other] = await pair("room-listed");
    const reader = await connectPhoenix(first.url);
    const token = mint({ id: "reader", channel: "room-listed", can: ["join"] }, SECRET);
    await reader.join("room-listed", { token });
    const refused = await reader.ask({ joinRef: null, topic: "room-listed", event: "say" });
    expect(refused.response).toEqual({ reason: "forbidden" });
    for (const event of ["other", "sa", "sayy", "say", "draw", "drawn", "presence_diff"]) {
      await sender.phoenix.ask({ joinRef: null, topic: "room-listed", event, payload: '"x"' });
    }
    await place.backend.publish("to:room-listed:end", "1");
    await other.phoenix.event("end");
    const got = other.phoenix.frames.all.filter(({ payload }) => payload === "x").map(({ event }) => event);
    expect(got).toEqual(["say", "draw", "drawn"]);
  });

  test("with a pattern for all leave out what only a server sends, and what phoenix.js takes for a reply", async () => {
    const [sender, other] = await pair("open-1");
    const server = [
      "phx_reply",
      "presence_state",
      "position",
      "gap",
      "skipped",
      "presence_count",
      "chan_reply_1",
    ];
    for (const event of [...server, "any"])
      await sender.phoenix.ask({ joinRef: null, topic: "open-1", event, payload: '"x"' });
    await other.phoenix.event("any");
    expect(other.phoenix.frames.all.filter(({ payload }) => payload === "x").length).toBe(1);
    const [talker, listener] = await pair("system");
    const clock = { joinRef: null, topic: "system", event: "datetime", payload: '"x"' };
    expect((await talker.phoenix.ask(clock)).status).toBe("ok");
    await place.backend.publish("to:system:end", "1");
    await listener.phoenix.event("end");
    expect(listener.phoenix.frames.all.filter(({ payload }) => payload === "x")).toEqual([]);
  });

  test("are refused beyond the rate of a client, and then reach nobody", async () => {
    const [sender, other] = await pair("room-rate");
    const pushes = await place.backend.listenToPushes("room-rate");
    const refusedBefore = await metric('channel_refused_total{reason="too_many_client_events"}');
    for (let i = 0; i < 80; i++)
      sender.phoenix.send({ joinRef: null, ref: `r${i}`, topic: "room-rate", event: "say", payload: `${i}` });
    const replies = [];
    for (let i = 0; i < 80; i++) replies.push(await sender.phoenix.reply(`r${i}`));
    const accepted = replies.flatMap(({ status }, i) => (status === "ok" ? [i] : []));
    // The burst is 50; some more if the machine is slow.
    expect(accepted.slice(0, 50)).toEqual([...Array(50).keys()]);
    expect(accepted.length).toBeLessThan(80);
    const { response } = replies.find(({ status }) => status === "error") ?? {};
    expect(response).toEqual({ reason: "too many client events" });
    const refusals = (await metric('channel_refused_total{reason="too_many_client_events"}')) - refusedBefore;
    expect(refusals).toBe(80 - accepted.length);
    // Other events are not counted.
    const free = await sender.phoenix.ask({ joinRef: null, topic: "room-rate", event: "other" });
    expect(free.status).toBe("ok");
    await place.backend.publish("to:room-rate:say", '"end"');
    expect(await other.upToEnd()).toEqual([...accepted.map(String), '"end"']);
    const received = (await pushes.until(({ name }) => name.endsWith(":other"))) && pushes.all.slice(0, -1);
    expect(received.map(({ payload }) => Number(String(payload)))).toEqual(accepted);
    // Its other connections, and other clients, have their own.
    const second = await phoenix(first, "room-rate", "mallory", {});
    expect((await second.phoenix.ask({ joinRef: null, topic: "room-rate", event: "say" })).status).toBe("ok");
  });

  test("over max_payload are refused", async () => {
    const [sender, other] = await pair("named-large");
    const ask = (length: number) =>
      sender.phoenix.ask({
        joinRef: null,
        topic: "named-large",
        event: "say",
        payload: JSON.stringify("x".repeat(length)),
      });
    expect((await ask(4096 - 30)).response).toEqual({ reason: "payload too large" });
    expect((await ask(4096 - 31)).status).toBe("ok");
    expect(Object((await other.phoenix.event("say")).payload).payload).toHaveLength(4096 - 31);
  });

  test("cannot pass for messages of Channelstream: neither with another user, nor as a deletion", async () => {
    const channel = "room-kept";
    const connect = { username: "eve", channels: [channel], channel_configs: {} };
    const configs = { [channel]: { store_history: true, history_size: 10, notify_presence: false } };
    const answer = await callChannelstream(first.url, "POST", "/connect", {
      ...connect,
      channel_configs: configs,
    });
    expect(answer.status).toBe(200);
    await callChannelstream(first.url, "POST", "/message", [
      { channel, user: "boss", message: { text: "kept" } },
    ]);
    const history = async () => {
      const { body } = await callChannelstream(first.url, "POST", "/info", { info: { channels: [channel] } });
      return list(object(object(object(body).channels)[channel]).history);
    };
    const [kept] = await eventually(async () => {
      const messages = await history();
      return messages.length > 0 && messages;
    }, "a kept message");
    const uuid = String(kept?.uuid);
    const sender = await phoenix(first, channel, "mallory", {});
    for (const type of ["message:delete", "message"]) {
      const payload = JSON.stringify({ uuid, type, channel, user: "boss", message: { text: "forged" } });
      await sender.phoenix.ask({ joinRef: null, topic: channel, event: "say", payload });
    }
    const got: Json[] = [];
    // The bus accepts a push before the server has received it, so that one poll may return the first only.
    while (got.length < 2) {
      const path = `/listen?conn_id=${object(answer.body).conn_id}`;
      const { body } = await callChannelstream(first.url, "GET", path);
      got.push(...list(body).filter(({ message }) => object(message ?? {}).event === "say"));
    }
    expect(got.length).toBe(2);
    expect(got.every(({ user, type }) => user === null && type === "message")).toBe(true);
    expect((await history()).map((each) => each.uuid)).toEqual([uuid]);
  });
});

test("without Redis a client event is answered with an error, and not sent later", async () => {
  const world = await startWorld("redis", { toml: CHANNELS });
  try {
    const [sender, other] = [await world.connect(), await world.connect()];
    for (const client of [sender, other]) await client.join("room", { token: world.token("room") });
    const say = { joinRef: null, topic: "room", event: "say", payload: "1" };
    expect((await sender.ask(say)).status).toBe("ok");
    expect((await other.event("say")).payload).toBe(1);
    await world.redis?.stop();
    const { response } = await eventually(async () => {
      const reply = await sender.ask(say);
      return reply.status === "error" && reply;
    }, "an error");
    expect(response).toEqual({ reason: "backend unavailable" });
    expect((await other.fence()).filter(({ event }) => event === "say")).toEqual([]);
  } finally {
    await world.stop();
  }
});
