import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { labelled, readMetrics } from "../../soak/samples.ts";
import { type GroupsClient, request } from "../groups/groups-client.ts";
import { addressOf, eventually, VERSIONS } from "../phoenix-client.ts";
import { openWebSocket, type RawSocket, type Refusal } from "../websocket.ts";
import { begin, startPoller } from "../wild/poller.ts";
import { ADMIN_SECRET, startWorld, type World } from "../world.ts";

/** Limits in combination: connections and rates by address, and sizes in every protocol. */
const LIMITS = {
  connections: 12,
  perAddress: 3,
  /** Per second; the burst is ten times that. */
  connects: 1,
  frame: 4096,
  payload: 8192,
  channels: 3,
  subscriptions: 4,
  body: 2000,
};

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `
trusted_proxies = ["127.0.0.1"]
[channels."quiet*"]
presence = false
[limits]
max_connections = ${LIMITS.connections}
max_connections_per_ip = ${LIMITS.perAddress}
connects_per_second_per_ip = ${LIMITS.connects}
max_frame = ${LIMITS.frame}
max_payload = ${LIMITS.payload}
max_channels = ${LIMITS.channels}
max_subscriptions = ${LIMITS.subscriptions}
max_body = ${LIMITS.body}
`,
  });
});
afterAll(() => world.stop());

/** The header that the trusted proxy sends for a client on this machine. */
const HERE = { "x-forwarded-for": "127.0.0.1" };

/** Opens a socket as a client with this address, behind the trusted proxy; the default is this machine. */
function open(address = "127.0.0.1"): Promise<RawSocket | Refusal> {
  const headers = { "x-forwarded-for": address };
  return openWebSocket(addressOf(world.channel.url), headers);
}

async function held(count: number, address?: string): Promise<RawSocket[]> {
  const sockets: RawSocket[] = [];
  for (let i = 0; i < count; i++) {
    const opened = await open(address);
    if (!("cut" in opened)) throw new Error(`socket ${i + 1} was refused: ${opened.status} ${opened.body}`);
    sockets.push(opened);
  }
  return sockets;
}

async function refusal(opening: Promise<RawSocket | Refusal>): Promise<{ status: number; error: unknown }> {
  const opened = await opening;
  if ("cut" in opened) {
    opened.cut();
    throw new Error("it was let in");
  }
  const { error } = Object(JSON.parse(opened.body));
  return { status: opened.status, error };
}

async function untilFree(): Promise<void> {
  await eventually(
    async () => (await readMetrics(world.channel.url)).get('channel_connections{protocol="phoenix"}') === 0,
    "all gone",
    // A client that is disconnected is counted for up to 5 s.
    10_000,
  );
}

async function refusals(reason: string): Promise<number> {
  return labelled(await readMetrics(world.channel.url), "channel_refused_total", reason);
}

describe("connection limits", () => {
  test("max_connections_per_ip: 503 before the upgrade, counted, for that address only, until one disconnects", async () => {
    const before = await refusals("http_503");
    const mine = await held(LIMITS.perAddress, "192.0.2.10");
    expect(await refusal(open("192.0.2.10"))).toEqual({
      status: 503,
      error: "Connection limit of this address reached (limits.max_connections_per_ip).",
    });
    expect(await refusals("http_503")).toBe(before + 1);
    const [theirs] = await held(1, "192.0.2.11");
    mine[0]?.cut();
    const again = await eventually(async () => {
      const opened = await open("192.0.2.10");
      return "cut" in opened && opened;
    }, "a place");
    for (const socket of [...mine, theirs, again]) socket?.cut();
    await untilFree();
  });

  test("an IPv6 network counts as one address; sockets and polls share its limit", async () => {
    const network = (host: number): string => `2001:db8:0:7::${host}`;
    const sockets = await held(2, network(1));
    const poller = await startPoller(world.channel.url, { headers: { "x-forwarded-for": network(2) } });
    expect((await poller.post(`[null,"1","phoenix","heartbeat",{}]`)).status).toBe(200);
    expect((await refusal(open(network(3)))).status).toBe(503);
    // phoenix.js would never poll again after anything but a 200 whose body says 500.
    expect(await begin(world.channel.url, { headers: { "x-forwarded-for": network(4) } })).toMatchObject({
      http: 200,
      status: 500,
    });
    for (const socket of sockets) socket.cut();
    await eventually(async () => (await poller.poll()).messages.length > 0, "its messages");
    for (const id of await connectionIds()) await cutOff(id);
    await untilFree();
  });

  test("max_connections: 503 for every client, also of this machine, until one disconnects", async () => {
    const all = await held(LIMITS.connections);
    expect(await refusal(open())).toMatchObject({
      status: 503,
      error: expect.stringContaining("Connection limit"),
    });
    expect((await refusal(open("192.0.2.20"))).status).toBe(503);
    // Plain requests are still answered.
    expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
    for (const socket of all) socket.cut();
    await untilFree();
    const [one] = await held(1);
    one?.cut();
    await untilFree();
  });

  test("connects_per_second_per_ip: ten at once, then one a second, else 429; polls count, loopback does not", async () => {
    const before = await refusals("http_429");
    const burst = 10 * LIMITS.connects;
    const began = performance.now();
    let accepted = 0;
    let last = await open("192.0.2.30");
    for (; "cut" in last; last = await open("192.0.2.30")) {
      accepted++;
      await last.close();
    }
    const recovered = ((performance.now() - began) / 1000) * LIMITS.connects;
    expect(accepted).toBeWithin(burst, burst + 2 + Math.ceil(recovered));
    expect(await refusal(Promise.resolve(last))).toEqual({
      status: 429,
      error:
        "Too many new connections from this address (limits.connects_per_second_per_ip): try again in a moment.",
    });
    expect(await refusals("http_429")).toBeGreaterThan(before);
    // The rate may have just allowed one more, but not two.
    await eventually(async () => {
      const { http, status } = await begin(world.channel.url, {
        headers: { "x-forwarded-for": "192.0.2.30" },
      });
      expect(http).toBe(200);
      return status === 500;
    }, "a poll that is refused");
    await Bun.sleep(1100 / LIMITS.connects);
    const [late] = await held(1, "192.0.2.30");
    await late?.close();
    for (let i = 0; i < 3 * burst; i++) {
      const [local] = await held(1);
      await local?.close();
    }
    await untilFree();
  });

  test("invalid or aborted handshakes do not count as connections", async () => {
    const { url, port } = world.channel;
    const broken = [
      { "sec-websocket-key": "" },
      { "sec-websocket-key": "short" },
      { "sec-websocket-version": "8" },
      { upgrade: "h2c" },
      { connection: "keep-alive" },
    ];
    for (let i = 0; i < 3 * LIMITS.connections; i++) {
      const opened = await openWebSocket(addressOf(url), { ...HERE, ...broken[i % broken.length] }).catch(
        () => null,
      );
      if (opened !== null && "cut" in opened) opened.cut();
      expect((await openWebSocket(`${url}/websocket?vsn=9.0.0`, HERE)).status).toBe(403);
      // Disconnected before the answer.
      const gone = connect(port, "127.0.0.1", () => {
        gone.write(
          `GET /websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`,
        );
        gone.write("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
        gone.resetAndDestroy();
      });
      gone.on("error", () => {});
      await new Promise((resolve) => gone.on("close", resolve));
    }
    await untilFree();
    const all = await held(LIMITS.connections);
    for (const socket of all) socket.cut();
    await untilFree();
  });

  test("ignores the forged entries of X-Forwarded-For, left of the client's address", async () => {
    const forged = [
      "127.0.0.1, 192.0.2.40",
      "::1,192.0.2.40",
      "198.51.100.7, 127.0.0.1, 192.0.2.40, 127.0.0.1",
    ];
    const sockets: RawSocket[] = [];
    for (let i = 0; i < LIMITS.perAddress; i++) sockets.push(...(await held(1, forged[i % forged.length])));
    for (const each of forged) expect((await refusal(open(each))).status).toBe(503);
    // An invalid entry hides the entries left of it. The address is then that of the proxy, which is this machine.
    for (const socket of sockets) socket.cut();
    await untilFree();
    const metrics = await fetch(`${world.channel.url}/metrics`, {
      headers: { "x-forwarded-for": "127.0.0.1, 192.0.2.40" },
    });
    expect(metrics.status).toBe(401);
    const here = { "x-forwarded-for": "127.0.0.1" };
    expect((await fetch(`${world.channel.url}/metrics`, { headers: here })).status).toBe(200);
  });
});

describe("sizes", () => {
  test.each([...VERSIONS])(
    "max_frame, %s: accepts a frame of that size, and closes with 1009 for one byte more",
    async (vsn) => {
      const client = await world.connect({ vsn });
      await client.join("quiet", { token: world.token("quiet") });
      const empty = client.encode({ joinRef: "1", ref: "x", topic: "quiet", event: "said", payload: '""' });
      const fill = LIMITS.frame - Buffer.byteLength(empty);
      const sized = (size: number): string =>
        client.encode({
          joinRef: "1",
          ref: "x",
          topic: "quiet",
          event: "said",
          payload: `"${"f".repeat(size)}"`,
        });
      client.sendText(sized(fill));
      expect((await client.reply("x")).status).toBe("ok");
      client.sendText(sized(fill + 1));
      expect((await client.socket.closed).code).toBe(1009);
      await untilFree();
    },
  );

  test("max_frame of groups, and of polls, whose session ends", async () => {
    const groups = await joinGroups();
    groups.sendText(JSON.stringify({ groups: { quiet: ["f".repeat(LIMITS.frame)] } }));
    expect((await groups.socket.closed).code).toBe(1009);
    const poller = await startPoller(world.channel.url, { headers: HERE });
    expect(
      (await poller.post(`[null,"1","phoenix","heartbeat",{"f":"${"f".repeat(LIMITS.frame)}"}]`)).status,
    ).toBe(500);
    expect((await poller.post(`[null,"1","phoenix","heartbeat",{}]`)).status).toBe(410);
  });

  test("max_payload: sends a payload of that size to every client, drops and counts one byte more", async () => {
    const client = await world.connect();
    await client.join("quiet", { token: world.token("quiet") });
    const dropped = async (): Promise<number> =>
      labelled(await readMetrics(world.channel.url), "channel_bus_messages_dropped_total", "too_large");
    const before = await dropped();
    const text = (size: number): string => `"${"p".repeat(size - 2)}"`;
    await world.backend.publish("to:quiet:news", text(LIMITS.payload));
    expect((await client.event("news")).payload).toBe("p".repeat(LIMITS.payload - 2));
    // The embedded bus refuses a larger bulk, with an error to the backend.
    const refused: unknown = await world.backend
      .publish("to:quiet:news", text(LIMITS.payload + 1))
      .catch(String);
    if (typeof refused === "number")
      await eventually(async () => (await dropped()) === before + 1, "counted");
    else expect(String(refused)).toMatch(/closed|invalid bulk length/i);
    expect((await client.fence()).filter((each) => each.event === "news")).toEqual([]);
    client.socket.cut();
    await untilFree();
  });

  test("max_channels: refuses one more with a reason, accepts a rejoin at the limit, and a new join after a leave", async () => {
    const client = await world.connect();
    const join = (topic: string) => client.join(topic, { token: world.token(topic) });
    for (let i = 0; i < LIMITS.channels; i++) expect((await join(`quiet:${i}`)).status).toBe("ok");
    expect((await join("quiet:more")).response).toEqual({ reason: "too many channels joined" });
    expect((await join("quiet:0")).status).toBe("ok");
    expect((await client.ask({ topic: "quiet:1", event: "phx_leave" })).status).toBe("ok");
    expect((await join("quiet:more")).status).toBe("ok");
    client.socket.cut();
    await untilFree();
  });

  test("max_subscriptions: refuses the whole message, and keeps the earlier subscriptions", async () => {
    const groups = await joinGroups();
    const entries = Array.from({ length: LIMITS.subscriptions }, (_, i) => i);
    expect((await groups.follow({ quiet: entries })).current).toHaveLength(LIMITS.subscriptions);
    groups.send({ groups: { quiet: [...entries, 99] } });
    expect(await groups.next()).toEqual({ error: `more than ${LIMITS.subscriptions} subscriptions` });
    await world.backend.publish("to:quiet:0", "7");
    expect(await groups.next()).toBe(7);
    groups.socket.cut();
  });

  test("max_body: 413 in JSON, with and without Content-Length", async () => {
    const body = (size: number): string => JSON.stringify({ channel: "quiet", id: "i".repeat(size) });
    const post = (sent: RequestInit["body"]) =>
      fetch(`${world.channel.url}/token`, {
        method: "POST",
        body: sent ?? null,
        headers: { "x-forwarded-for": "127.0.0.1" },
      });
    const spare = LIMITS.body - body(0).length;
    expect((await post(body(spare))).status).not.toBe(413);
    const streamed = new ReadableStream({
      start(controller) {
        for (const part of body(spare + 1).match(/.{1,500}/g) ?? []) controller.enqueue(Buffer.from(part));
        controller.close();
      },
    });
    for (const sent of [body(spare + 1), streamed]) {
      const answer = await post(sent);
      expect([answer.status, await answer.json()]).toEqual([
        413,
        { error: expect.stringContaining("max_body"), code: "body_too_large" },
      ]);
    }
  });
});

async function joinGroups(): Promise<GroupsClient> {
  const groups = await request(world.channel.url, { params: { token: world.token("quiet") }, headers: HERE });
  if (!("follow" in groups)) throw new Error(`refused with ${groups.status}`);
  expect(await groups.next()).toMatchObject({ accept: true });
  return groups;
}

async function connectionIds(): Promise<string[]> {
  const answer = await asAdministrator("GET", "/api/connections");
  return [...JSON.stringify(await answer.json()).matchAll(/"id":"([^"]+)"/g)].map(([, id = ""]) => id);
}

async function cutOff(id: string): Promise<void> {
  await asAdministrator("DELETE", `/api/connections/${id}`);
}

function asAdministrator(method: string, path: string): Promise<Response> {
  return fetch(world.channel.url + path, { method, headers: { authorization: `Bearer ${ADMIN_SECRET}` } });
}
