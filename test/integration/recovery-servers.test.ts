import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect as connectTo, createServer, type Socket as NetSocket } from "node:net";
import { Socket } from "phoenix";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, type Frame, mint, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type Line, startLine } from "./wild/line.ts";
import { type Backend, backendOn, SECRET } from "./world.ts";

const TOML = `
jwt_secret = "${SECRET}"
admin_events = false
presence_events = false
shutdown_grace = "0s"
[channels."large:*"]
history = 100000
history_bytes = "256MiB"
presence = false
[channels."short:*"]
history = 20
history_bytes = "32MiB"
presence = false
[channels."room:*"]
history = 1000
[channels."values:*"]
last_value = true
history_bytes = "64MiB"
presence = false
[limits]
history_bytes = "512MiB"
max_buffered_per_client = "8MiB"
`;

let redis: RedisProcess;
let lines: Line[];
let servers: ChannelProcess[];
let backend: Backend;

function start(line: Line | undefined): Promise<ChannelProcess> {
  return startChannel({ args: ["--redis-url", `redis://127.0.0.1:${line?.port}`], toml: TOML });
}

beforeAll(async () => {
  redis = await startRedis();
  lines = [await startLine(redis.port), await startLine(redis.port)];
  // One after the other: servers that subscribe at once may have no common position for the first 100 ms.
  servers = [];
  for (const line of lines) servers.push(await start(line));
  backend = backendOn(redis.port);
});
afterAll(async () => {
  backend.stop();
  await Promise.all(servers.map((each) => each.stop()));
  for (const line of lines) line.stop();
  await redis.stop();
});

interface Answer {
  readonly position?: string | null;
  readonly recovered?: boolean | null;
  readonly reason?: string;
}

async function join(
  client: PhoenixClient,
  topic: string,
  payload: Readonly<Record<string, unknown>> = { recover: null },
): Promise<Answer> {
  const joined = await client.join(topic, {
    token: mint({ id: "alice", channel: topic }, SECRET),
    ...payload,
  });
  return Object(joined.response);
}

function connect(server: number): Promise<PhoenixClient> {
  return connectPhoenix(servers[server]?.url ?? "");
}

/** A figure of the first server. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${servers[0]?.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1]);
}

/** Counts the messages that the first server receives from now on. Returns a function that waits until they are that many. */
async function receiving(): Promise<(count: number) => Promise<boolean>> {
  const received = () => metric("channel_bus_messages_received_total");
  const before = await received();
  return (count) => eventually(async () => (await received()) >= before + count, `${count} messages`);
}

let topics = 0;
function fresh(family: string): {
  topic: string;
  publish: (event: string, payload: string | Buffer) => Promise<number>;
} {
  const topic = `${family}:${++topics}`;
  return { topic, publish: (event, payload) => backend.publish(`to:${topic}:${event}`, payload) };
}

/** The numbers of the messages `n` until the event `end`. */
async function numbers(client: PhoenixClient): Promise<number[]> {
  const seen: number[] = [];
  for (;;) {
    const { event, payload } = await client.frames.next();
    if (event === "end") return seen;
    if (event === "n") seen.push(Number(Object(payload).n ?? payload));
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

test("a position of one server is good on the other, and waited for if that one is late", async () => {
  const { topic, publish } = fresh("room");
  const first = await connect(0);
  const start = await join(first, topic);
  await publish("n", "1");
  await first.event("n");
  // Connected before: the join waits for one second at the most.
  const [second, third] = [await connect(1), await connect(1)];
  lines[1]?.stall();
  await publish("n", "2");
  const { ref } = await first.event("n");
  const answer = join(second, topic, { recover: ref });
  expect((await join(third, topic, { recover: start.position })).recovered).toBe(true);
  await Bun.sleep(50);
  lines[1]?.resume();
  expect(await answer).toMatchObject({ position: ref, recovered: true });
  await publish("n", "3");
  await publish("end", "0");
  expect(await numbers(second)).toEqual([3]);
});

test("when a server is disconnected from Redis, members that asked get one gap event, and its positions are lost", async () => {
  const { topic, publish } = fresh("room");
  const asked = await connect(0);
  const before = await join(asked, topic);
  const other = await connect(0);
  await join(other, topic, {});
  const elsewhere = await connect(1);
  await join(elsewhere, topic);
  lines[0]?.cut();
  const gap = await asked.event("gap");
  const position = Object(gap.payload).position;
  expect([gap.ref, gap.payload]).toEqual([position, { position, reason: "gap" }]);
  await publish("end", "0");
  for (const client of [asked, other, elsewhere]) await client.event("end");
  expect(asked.frames.all.filter(({ event }) => event === "gap")).toHaveLength(1);
  for (const { frames } of [other, elsewhere]) {
    expect(frames.all.filter(({ event }) => event === "gap")).toEqual([]);
  }
  // Good on the server that had no gap.
  const late = [await connect(0), await connect(1)] as const;
  const recover = before.position;
  expect(await join(late[0], topic, { recover })).toMatchObject({ recovered: false, reason: "gap" });
  expect(await join(late[1], topic, { recover })).toMatchObject({ recovered: true });
  expect(await join(late[1], topic, { recover: position })).toMatchObject({ recovered: true });
});

test("a client that does not ask gets the same bytes on a channel with history as on one without", async () => {
  const seen = new Map<string, string[]>();
  for (const { vsn, transport } of WAYS) {
    for (const family of ["room", "bare"]) {
      const { topic, publish } = fresh(family);
      const witness = await connect(0);
      await join(witness, topic);
      const client = await connectPhoenix(servers[0]?.url ?? "", { vsn, transport });
      await join(client, topic, {});
      await publish("n", '{"n":1}');
      await publish("text", "plain text");
      await publish("b", Buffer.from([0xff, 1]));
      await publish("end", "0");
      await client.event("end");
      const texts = client.frames.all
        .filter(({ event }) => event !== "presence_state" && event !== "presence_diff")
        .map(({ text }) =>
          text.replaceAll(topic, "TOPIC").replaceAll(Buffer.from(topic).toString("hex"), "TOPIC"),
        )
        .map((text) => text.replace(/"id":"[^:]+:/, '"id":"ID:'));
      const key = `${vsn} ${transport}`;
      if (!seen.has(key)) seen.set(key, texts);
      else expect(texts).toEqual(seen.get(key) ?? []);
    }
  }
});

test("a client that reads slowly is sent megabytes as it reads, is not cut off, and then gets live messages", async () => {
  const { topic, publish } = fresh("large");
  const untilReceived = await receiving();
  const first = await connect(0);
  const { position } = await join(first, topic);
  first.socket.cut();
  const pad = "x".repeat(20_000);
  const count = 700;
  for (let i = 1; i <= count; i++) void publish("n", JSON.stringify({ n: i, pad }));
  await publish("mark", "0");
  // A client that had caught up before would be sent the rest live.
  await untilReceived(count + 1);
  const slow = await connect(0);
  expect((await join(slow, topic, { recover: position })).recovered).toBe(true);
  // 14 MB, with 8 MiB of backlog allowed.
  const reading = numbers(slow);
  for (let i = 0; i < 4; i++) {
    slow.socket.pause();
    await Bun.sleep(300);
    slow.socket.resume();
    await Bun.sleep(100);
  }
  expect(await metric("channel_buffered_bytes")).toBeLessThan(3 << 20);
  for (let i = 1; i <= 10; i++) await publish("n", JSON.stringify({ n: count + i, pad }));
  await publish("end", "0");
  expect(await reading).toEqual(range(1, count + 10));
}, 60_000);

test("a slow client that is overtaken by what is dropped gets a gap event, then live messages", async () => {
  const { topic, publish } = fresh("short");
  const untilReceived = await receiving();
  const first = await connect(0);
  const { position } = await join(first, topic);
  first.socket.cut();
  const pad = "x".repeat(400_000);
  for (let i = 1; i <= 20; i++) await publish("n", JSON.stringify({ n: i, pad }));
  const slow = await connect(0);
  slow.socket.pause();
  const joins = await metric("channel_joins_total");
  const answer = join(slow, topic, { recover: position });
  await eventually(async () => (await metric("channel_joins_total")) > joins, "the join");
  // Few enough that its backlog is not full if it is live while it does not read.
  await Promise.all(range(21, 42).map((n) => publish("n", JSON.stringify({ n, pad }))));
  await untilReceived(42);
  slow.socket.resume();
  expect((await answer).recovered).toBe(true);
  const events: (string | number)[] = [];
  const readTo = async (last: string): Promise<void> => {
    for (let event = ""; event !== last; ) {
      const frame: Frame = await slow.frames.next();
      ({ event } = frame);
      if (event === "n") events.push(Number(Object(frame.payload).n));
      else if (event !== "end") events.push(`${event} ${Object(frame.payload).reason}`);
    }
  };
  // What is published before the event belongs to what is missing.
  await readTo("gap");
  await publish("end", "0");
  await readTo("end");
  const at = events.indexOf("gap too many");
  expect(at).toBeGreaterThan(0);
  expect(events.slice(0, at)).toEqual(range(1, at));
  const live = events.slice(at + 1);
  expect(live).toEqual(range(43 - live.length, 42));
});

/** A proxy that keeps back, while it holds, what the server sends on a connection behind the answer to the upgrade. */
async function startHoldingProxy(port: number) {
  let holding = false;
  let held: (readonly [NetSocket, Buffer])[] = [];
  const sockets = new Set<NetSocket>();
  const server = createServer((near) => {
    const far = connectTo(port, "127.0.0.1");
    let upgraded = false;
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => other.destroy());
    }
    near.pipe(far);
    far.on("data", (data: Buffer) => {
      if (holding && upgraded) held.push([near, data]);
      else near.write(data);
      upgraded = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    hold: () => {
      holding = true;
    },
    release: () => {
      holding = false;
      for (const [near, data] of held) near.write(data);
      held = [];
    },
    get held() {
      return held.length;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test("a join whose answer comes after its timeout loses nothing: phoenix.js joins again", async () => {
  const { topic, publish } = fresh("room");
  const proxy = await startHoldingProxy(servers[0]?.port ?? 0);
  const socket = new Socket(`ws://127.0.0.1:${proxy.port}/websocket`, {
    timeout: 400,
    reconnectAfterMs: () => 50,
    rejoinAfterMs: () => 1500,
  });
  socket.connect();
  const token = mint({ id: "alice", channel: topic }, SECRET);
  const joins: unknown[] = [];
  const got = new Set<unknown>();
  let position: string | null = null;
  const channel = socket.channel(topic, () => ({ token, recover: position }));
  channel.onMessage = (_event, payload, ref) => {
    if (channel.state === "joined" && ref?.includes("-")) position = ref;
    return payload;
  };
  channel.on("n", (payload) => void got.add(payload));
  channel.join().receive("ok", (answer) => {
    joins.push(Object(answer).recovered);
    position = Object(answer).position ?? position;
  });
  try {
    await eventually(() => joins.length === 1, "the first join");
    await publish("n", "1");
    await eventually(() => got.has(1), "the first message");
    proxy.hold();
    proxy.cut();
    await publish("n", "2");
    await eventually(() => proxy.held > 0, "the answer to the second join");
    await publish("n", "3");
    await Bun.sleep(700);
    proxy.release();
    await eventually(() => joins.length === 2, "the second join");
    await publish("n", "4");
    await eventually(() => got.has(4), "the last message");
    expect(joins).toEqual([null, true]);
    expect([...got].sort()).toEqual([1, 2, 3, 4]);
  } finally {
    socket.disconnect();
    proxy.stop();
  }
});

test("a token that is renewed keeps positions, with and without presence", async () => {
  const { topic, publish } = fresh("room");
  const client = await connect(0);
  await join(client, topic);
  for (const presence of [false, true]) {
    const can = { push: true, join: true, presence };
    const token = mint({ id: "alice", channel: topic, can }, SECRET);
    await client.ask({ joinRef: "1", topic, event: "access_token", payload: JSON.stringify({ token }) });
    await publish("n", "1");
    expect((await client.event("n")).ref).toMatch(/-/);
  }
});

test("last values of many megabytes are sent as the client reads, before anything live", async () => {
  const { topic, publish } = fresh("values");
  const untilReceived = await receiving();
  const pad = "x".repeat(200_000);
  for (let i = 1; i <= 50; i++) await publish(`e${i}`, JSON.stringify({ n: i, pad }));
  await untilReceived(50);
  const client = await connect(0);
  client.socket.pause();
  const answer = join(client, topic, {});
  await Bun.sleep(300);
  await publish("live", "1");
  client.socket.resume();
  expect(await answer).not.toHaveProperty("position");
  const seen: string[] = [];
  while (seen.at(-1) !== "live") seen.push((await client.frames.next()).event);
  expect(seen).toEqual([...range(1, 50).map((i) => `e${i}`), "live"]);
});

test("a server that stops sends each member its position, which the next one knows", async () => {
  const { topic, publish } = fresh("room");
  const client = await connect(1);
  const { position } = await join(client, topic);
  await publish("n", "1");
  await client.event("n");
  await backend.publish("to:elsewhere:n", "1");
  await eventually(async () => (await servers[1]?.stop()) === 0, "the server stopped");
  servers[1] = await start(lines[1]);
  const sent = await client.event("position");
  expect(sent.ref).not.toBe(position);
  expect(await join(await connect(0), topic, { recover: sent.ref })).toMatchObject({ recovered: true });
});
