import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, mint, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type Line, startLine } from "./wild/line.ts";
import { ADMIN_SECRET, BUSES, SECRET, startWorld, type World } from "./world.ts";

/* Replies are sent in the order of the requests, even if the bus is slow for some of them. */

/** The answers in order: refs of replies, and events that end a membership. */
function answers(client: PhoenixClient): unknown[] {
  return client.frames.all
    .filter(({ event }) => event !== "presence_state" && event !== "presence_diff")
    .map(({ event, ref }) => (event === "phx_reply" ? ref : `${event} ${ref}`));
}

for (const bus of BUSES) {
  describe(`order of replies on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus);
    });
    afterAll(() => world.stop());

    for (const { vsn, transport, way } of WAYS) {
      test(`equals the order of the requests, ${way}`, async () => {
        const topic = `room ${way}`;
        const client = await world.connect({ vsn, transport });
        const payload = JSON.stringify({ token: world.token(topic) });
        const push = (joinRef: string, ref: string | null) => ({ joinRef, ref, topic, event: "news" });
        client.sendTogether([
          { joinRef: "1", ref: "1", topic, event: "phx_join", payload },
          push("1", "2"),
          { ref: "3", topic: "phoenix", event: "heartbeat" },
          { joinRef: "1", ref: "4", topic: "not joined", event: "news" },
          push("1", "5"),
          { joinRef: "1", ref: "6", topic, event: "access_token", payload },
          push("1", "7"),
          { joinRef: "1", ref: "8", topic, event: "phx_leave" },
          { joinRef: "9", ref: "9", topic, event: "phx_join", payload },
          push("9", "10"),
          push("9", null),
          { joinRef: "11", ref: "11", topic, event: "phx_join", payload },
          push("11", "12"),
          { joinRef: "13", ref: "13", topic: "phoenix", event: "phx_join" },
          { joinRef: "14", ref: "14", topic: "another", event: "phx_join", payload },
          { joinRef: "15", ref: null, topic, event: "phx_leave" },
          push("11", "16"),
          { joinRef: "11", ref: "17", topic, event: "phx_leave" },
          { ref: "18", topic: "phoenix", event: "heartbeat" },
        ]);
        await client.reply("18");
        expect(answers(client)).toEqual([
          ...["1", "2", "3", "4", "5", "6", "7", "8", "phx_close 1", "9", "10", "phx_close 9", "11"],
          ...["12", "13", "14", "16", "17", "phx_close 11", "18"],
        ]);
      });
    }
  });
}

describe("while Redis does not answer", () => {
  let redis: RedisProcess;
  let line: Line;
  let channel: ChannelProcess;
  const open: PhoenixClient[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    line = await startLine(redis.port);
    channel = await startChannel({
      args: ["--bus", "redis", "--redis-url", `redis://127.0.0.1:${line.port}`],
      toml: `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`,
    });
  });
  afterAll(async () => {
    for (const client of open) client.socket.cut();
    await channel.stop();
    line.stop();
    await redis.stop();
  });
  const connect = async (params: Readonly<Record<string, string>> = {}): Promise<PhoenixClient> => {
    const client = await connectPhoenix(channel.url, { params });
    open.push(client);
    return client;
  };
  const tokenOf = (topic: string, id = "alice"): string => mint({ id, channel: topic }, SECRET);

  test("a leave ends the membership at once and is answered after earlier pushes", async () => {
    const topic = "left";
    const [client, watcher] = [await connect(), await connect()];
    await watcher.join(topic, { token: tokenOf(topic, "watcher") });
    await client.join(topic, { token: tokenOf(topic) });
    await client.event("presence_diff");
    line.stall();
    try {
      client.sendTogether([
        { joinRef: "1", ref: "a", topic, event: "news" },
        { joinRef: "1", ref: "b", topic, event: "phx_leave" },
        { ref: "c", topic: "phoenix", event: "heartbeat" },
      ]);
      await watcher.frames.until(({ text }) => text.includes('"leaves":{"alice"'), "the leave");
      expect(client.frames.take()).toEqual([]);
    } finally {
      line.resume();
    }
    await client.reply("c");
    expect(answers(client)).toEqual(["1", "a", "b", "phx_close 1", "c"]);
  });

  test("a kick sends phx_close after the replies to earlier pushes", async () => {
    const topic = "kicked";
    const [client, other] = [await connect(), await connect()];
    const { joinRef } = await client.join(topic, { token: tokenOf(topic) });
    await client.event("presence_diff");
    line.stall();
    try {
      client.send({ joinRef, ref: "a", topic, event: "news" });
      client.socket.ping("handled");
      await client.socket.pongs.next();
      const kicked = await fetch(`${channel.url}/api/kick`, {
        method: "POST",
        headers: { authorization: `Bearer ${ADMIN_SECRET}`, "content-type": "application/json" },
        body: JSON.stringify({ channel: topic, id: "alice" }),
      });
      expect(kicked.status).toBe(200);
      await other.fence();
      expect(client.frames.take()).toEqual([]);
    } finally {
      line.resume();
    }
    await client.event("phx_close");
    expect(answers(client)).toEqual([joinRef, "a", `phx_close ${joinRef}`]);
  });
});
