import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SECRET as CHANNELSTREAM_SECRET, call, object } from "../channelstream/rig.ts";
import { VERSIONS, type Version } from "../phoenix-client.ts";
import { openWebSocket } from "../websocket.ts";
import { BUSES, startWorld, type World } from "../world.ts";
import { AWX_GROUPS, enterGroups, type GroupsClient } from "./groups-client.ts";

/** A client of any protocol that receives one event of one channel. */
interface Listener {
  /** The JSON text of the next payload, byte for byte. */
  payload(): Promise<string>;
  cut(): void;
}

/** How each protocol listens. Another protocol is one more line here. */
const PROTOCOLS: Readonly<
  Record<string, (world: World, channel: string, event: string) => Promise<Listener>>
> = {
  groups: async (world, channel, event) => {
    const client = await enterGroups(world.channel.url, world.token(channel));
    await client.follow({ [channel]: [event] });
    return { payload: () => client.texts.next(), cut: () => client.socket.cut() };
  },
  ...Object.fromEntries(VERSIONS.map((vsn) => [`Phoenix ${vsn}`, phoenix(vsn)])),
  Channelstream: channelstream,
};

async function channelstream(world: World, channel: string, event: string): Promise<Listener> {
  const { url } = world.channel;
  const { body } = await call(url, "POST", "/connect", { username: "ann", channels: [channel] });
  const socket = await openWebSocket(`${url}/ws?conn_id=${object(body).conn_id}`);
  if (!("messages" in socket)) throw new Error(`no socket: ${socket.status}`);
  return {
    payload: async () => {
      const mark = `"message":{"event":${JSON.stringify(event)},"payload":`;
      const { data } = await socket.messages.until((each) => each.data.includes(mark), event);
      const text = data.toString();
      return text.slice(text.indexOf(mark) + mark.length, text.lastIndexOf('},"timestamp":'));
    },
    cut: () => socket.cut(),
  };
}

function phoenix(vsn: Version) {
  return async (world: World, channel: string, event: string): Promise<Listener> => {
    const client = await world.connect({ vsn });
    await client.join(channel, { token: world.token(channel) });
    const behind = vsn === "2.0.0" ? "]" : ',"ref":null}';
    return {
      payload: async () => {
        const { text } = await client.event(event, channel);
        const mark = vsn === "2.0.0" ? `${JSON.stringify(event)},` : '"payload":';
        return text.slice(text.indexOf(mark) + mark.length, text.length - behind.length);
      },
      cut: () => client.socket.cut(),
    };
  };
}

const PAYLOADS = [
  '{"group_name":"jobs","status":"successful","unified_job_id":9007199254740993}',
  '{"b":1,"a":2,"b":3,"__proto__":{}}',
  ' \n{ "spaced" :\t[1 , 2] }\r\n',
  '{"text":"ünï 名前 😀 \\u00e9 \\" \\ud800"}',
  '"data"',
  "1e400",
  "-0",
  "null",
  "[]",
];

describe.each(BUSES.map((bus) => [bus] as const))("on %s", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus, { toml: `[channelstream]\nsecret = "${CHANNELSTREAM_SECRET}"\n` });
  });
  afterAll(() => world?.stop());

  const enter = (channel = "*", claims = {}): Promise<GroupsClient> =>
    enterGroups(world.channel.url, world.token(channel, claims));

  /** The value of one line of the metrics. */
  async function metric(line: string): Promise<number> {
    const text = await (await fetch(`${world.channel.url}/metrics`)).text();
    const found = text.split("\n").find((each) => each.startsWith(`${line} `));
    return Number(found?.slice(line.length + 1) ?? 0);
  }

  test("one PUBLISH reaches the clients of every protocol, its payload as it was published", async () => {
    const listeners = await Promise.all(
      Object.values(PROTOCOLS).map((listen) => listen(world, "jobs", "status_changed")),
    );
    for (const payload of PAYLOADS) {
      expect(await world.backend.publish("to:jobs:status_changed", payload)).toBe(1);
      for (const listener of listeners) expect(await listener.payload()).toBe(payload);
    }
    for (const listener of listeners) listener.cut();
  });

  test.each(AWX_GROUPS.map((pair) => pair))("%s-%s reaches its subscribers only", async (group, entry) => {
    const follower = await enter(group);
    await follower.follow({ [group]: [entry] });
    const beside = await enter();
    await beside.follow({ [group]: [`${entry}0`], [`${group}s`]: [entry], other: [entry] });
    const payload = JSON.stringify({ group_name: group, entry });
    // In this order: once the follower has the payload, the server has received both.
    await world.backend.publish("to:other:end", "0");
    await world.backend.publish(`to:${group}:${entry}`, payload);
    expect(await follower.texts.next()).toBe(payload);
    await beside.follow({ other: ["end"] });
    await world.backend.publish("to:other:end", "1");
    expect(await beside.texts.next()).toBe("1");
    expect(await follower.fence()).toEqual([]);
  });

  test("messages keep their order among groups", async () => {
    const client = await enter();
    await client.follow({ jobs: ["status_changed"], job_events: [1] });
    const sent: string[] = [];
    const publishing: Promise<unknown>[] = [];
    for (let i = 0; i < 1000; i++) {
      sent.push(`{"i":${i}}`);
      publishing.push(
        world.backend.publish(i % 3 === 0 ? "to:jobs:status_changed" : "to:job_events:1", `{"i":${i}}`),
      );
    }
    await Promise.all(publishing);
    for (const text of sent) expect(await client.texts.next()).toBe(text);
  });

  test("nothing arrives before the answer that says joined, nor after the one that says left", async () => {
    const client = await enter();
    let running = true;
    const noise = (async () => {
      while (running) await world.backend.publish("to:jobs:summary", '"noise"');
    })();
    let heard = 0;
    for (let i = 0; i < 100; i++) {
      client.send({ groups: { jobs: ["summary"] } });
      await client.texts.until((text) => text.includes("groups_current"), "the answer");
      client.send({ groups: {} });
      await client.texts.until((text) => text.includes("groups_left"), "the answer");
    }
    running = false;
    await noise;
    await client.fence();
    let follows = false;
    for (const text of client.texts.all) {
      if (text.includes("groups_current")) follows = JSON.parse(text).groups_current.length > 0;
      else if (text === '"noise"') {
        expect(follows).toBe(true);
        heard++;
      }
    }
    expect(heard).toBeGreaterThan(0);
  });

  test("a binary payload is not sent to group clients, and counted", async () => {
    const before = await metric("channel_unsendable_total");
    const page = await world.connect();
    await page.join("feed", { token: world.token("feed") });
    const clients = await Promise.all([enter(), enter()]);
    for (const client of clients) await client.follow({ feed: ["rows"] });
    const other = await enter();
    await other.follow({ feed: ["lines"] });
    for (const payload of [
      Buffer.from([0, 255, 1]),
      Buffer.from("Hello from plugin"),
      Buffer.from('{"a":1'),
    ]) {
      await world.backend.publish("to:feed:rows", payload);
      expect((await page.event("rows")).payload).toEqual(payload);
    }
    await world.backend.publish("to:feed:rows", "1");
    for (const client of clients) expect(await client.texts.next()).toBe("1");
    expect(await other.fence()).toEqual([]);
    expect((await metric("channel_unsendable_total")) - before).toBe(6);
  });

  test("group clients are no members: no presence, no channel.add", async () => {
    const admin = await world.connect();
    await admin.join("admin", { token: await world.adminToken("root") });
    const client = await enter();
    await client.follow({ hall: ["presence_diff", "presence_state", "phx_join", "hello"], quiet: ["x"] });
    const page = await world.connect();
    await page.join("hall", { token: world.token("hall", { id: "bob" }) });
    expect(Object.keys(Object((await page.event("presence_state")).payload))).toEqual(["bob"]);
    await page.event("presence_diff");
    await world.backend.publish("to:hall:phx_join", "{}");
    await world.backend.publish("to:hall:hello", '"you"');
    expect(await client.texts.next()).toBe('"you"');
    const added = await admin.frames.until((each) => each.event === "channel.add", "channel.add");
    expect(Object(added.payload).channel).toBe("hall");
    // What the last member leaves stays open for those who follow it.
    page.socket.cut();
    await admin.frames.until((each) => each.event === "channel.remove", "channel.remove");
    await world.backend.publish("to:hall:hello", '"again"');
    expect(await client.texts.next()).toBe('"again"');
  });

  test("the clock of system reaches who follows it", async () => {
    const client = await enter("system");
    await client.follow({ system: ["datetime"] });
    expect(await client.next()).toMatchObject({ status: "ok", response: { counter: expect.any(Number) } });
  });

  test("connections and what they follow are counted by protocol, and gone when they are", async () => {
    const open = await startWorld(bus);
    try {
      const read = async (): Promise<string[]> =>
        (await (await fetch(`${open.channel.url}/metrics`)).text())
          .split("\n")
          .filter((line) => /^channel_(connections|listeners|channels)[{ ]/.test(line))
          .sort();
      const quiet = [
        "channel_channels 3",
        'channel_connections{protocol="groups"} 0',
        'channel_connections{protocol="phoenix"} 0',
        'channel_connections{protocol="sse"} 0',
        'channel_listeners{protocol="groups"} 0',
        'channel_listeners{protocol="phoenix"} 0',
        'channel_listeners{protocol="sse"} 0',
      ];
      expect(await read()).toEqual(quiet);
      const clients = await Promise.all([1, 2].map(() => enterGroups(open.channel.url, open.token("*"))));
      for (const client of clients)
        await client.follow({ jobs: ["summary", "status_changed"], control: ["x"] });
      const page = await open.connect();
      await page.join("jobs", { token: open.token("jobs") });
      expect(await read()).toEqual([
        "channel_channels 5",
        'channel_connections{protocol="groups"} 2',
        'channel_connections{protocol="phoenix"} 1',
        'channel_connections{protocol="sse"} 0',
        'channel_listeners{protocol="groups"} 6',
        'channel_listeners{protocol="phoenix"} 1',
        'channel_listeners{protocol="sse"} 0',
      ]);
      await clients[0]?.follow({ jobs: ["summary"] });
      expect(await read()).toContain('channel_listeners{protocol="groups"} 4');
      for (const client of clients) await client.socket.close();
      await page.socket.close();
      await Bun.sleep(0);
      expect(await read()).toEqual(quiet);
    } finally {
      await open.stop();
    }
  });
});
