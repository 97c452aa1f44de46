import { afterEach, describe, expect, test } from "bun:test";
import { type ChannelProcess, type LogLine, startChannel } from "./channel-process.ts";
import { untilStoredAt } from "./history-rig.ts";
import { connectPhoenix, mint, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { listenSse, openSse } from "./sse-client.ts";
import { ADMIN_SECRET, type Backend, backendOn, SECRET } from "./world.ts";

const TOML = `
jwt_secret = "${SECRET}"
admin_secret = "${ADMIN_SECRET}"
admin_events = false
presence_events = false
shutdown_grace = "0s"
[channels."room:*"]
history = 50
history_store = "redis"
presence = false
`;

const TOPIC = "room:7";

const open: { stop(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});

/** Executables on one Redis, and clients of them. */
class Installation {
  readonly redis: RedisProcess;
  readonly backend: Backend;
  #published = 0;

  constructor(redis: RedisProcess) {
    this.redis = redis;
    this.backend = backendOn(redis.port);
    open.push(redis, this.backend);
  }

  async server(): Promise<ChannelProcess> {
    const server = await startChannel({ args: ["--redis-url", this.redis.url], toml: TOML });
    open.push(server);
    return server;
  }

  /** Publishes the next numbers. Returns them. */
  async publish(count: number): Promise<number[]> {
    const numbers = Array.from({ length: count }, () => ++this.#published);
    for (const number of numbers) await this.backend.publish(`to:${TOPIC}:n`, String(number));
    return numbers;
  }
}

interface Visit {
  readonly client: PhoenixClient;
  readonly answer: Readonly<Record<string, unknown>>;
  /** The numbers that it received up to `count` of them, and the newest position. */
  received(count: number): Promise<{ numbers: unknown[]; position: string }>;
}

async function visit(
  { url }: ChannelProcess,
  payload: Readonly<Record<string, unknown>>,
  how: Parameters<typeof connectPhoenix>[1] = {},
): Promise<Visit> {
  const client = await connectPhoenix(url, how);
  open.push({ stop: () => client.socket.cut() });
  const token = mint({ id: "alice", channel: TOPIC }, SECRET);
  const { response } = await client.join(TOPIC, { token, ...payload });
  const answer: Record<string, unknown> = Object(response);
  return {
    client,
    answer,
    received: async (count) => {
      const numbers: unknown[] = [];
      let position = String(answer.position);
      while (numbers.length < count) {
        const frame = await client.event("n");
        numbers.push(frame.payload);
        position = String(frame.ref);
      }
      return { numbers, position };
    },
  };
}

async function start(args: readonly string[] = []): Promise<Installation> {
  return new Installation(await startRedis(args));
}

describe("servers that keep messages in Redis", () => {
  for (const { way, ...how } of WAYS) {
    test(`${way}: a client recovers from a server that started after all others have ended`, async () => {
      const all = await start();
      const first = await all.server();
      const before = await visit(first, { recover: null }, how);
      const [one = 0] = await all.publish(1);
      const { position } = await before.received(1);
      before.client.socket.cut();
      const missed = [...(await all.publish(5))];
      const second = await all.server();
      missed.push(...(await all.publish(5)));
      await first.stop();
      missed.push(...(await all.publish(5)));
      const third = await all.server();
      await second.stop();
      missed.push(...(await all.publish(5)));
      const after = await visit(third, { recover: position }, how);
      expect(after.answer).toMatchObject({ position, recovered: true });
      missed.push(...(await all.publish(1)));
      expect((await after.received(missed.length)).numbers).toEqual(missed);
      expect(one).toBe(1);
    });
  }

  test("a client of server-sent events resumes at a server that started later", async () => {
    const all = await start();
    const first = await all.server();
    const token = mint({ id: "alice", channel: TOPIC }, SECRET);
    const path = `/sse?channel=${TOPIC}&token=${token}`;
    const before = await listenSse(first.port, path);
    await all.publish(1);
    await before.message();
    const id = before.lastId();
    before.cut();
    const missed = await all.publish(3);
    const second = await all.server();
    await first.stop();
    missed.push(...(await all.publish(3)));
    const after = openSse(second.port, path, { headers: { "last-event-id": id } });
    open.push({ stop: () => after.cut() });
    const numbers: unknown[] = [];
    while (numbers.length < missed.length) numbers.push((await after.message()).payload);
    expect(numbers).toEqual(missed);
    expect(after.events.all.map(({ event }) => event)).not.toContain("gap");
  });

  test("a server that is killed loses nothing while another one runs", async () => {
    const all = await start();
    const servers = [await all.server(), await all.server()];
    const before = await visit(servers[0] as ChannelProcess, { recover: null });
    await all.publish(1);
    const { position } = await before.received(1);
    const missed: number[] = [];
    for (let i = 0; i < 4; i++) {
      missed.push(...(await all.publish(4)));
      const gone = servers.shift();
      gone?.kill("SIGKILL");
      missed.push(...(await all.publish(4)));
      servers.push(await all.server());
      // Until it has what was written before it.
      await visit(servers[1] as ChannelProcess, { recover: position });
    }
    const after = await visit(servers[1] as ChannelProcess, { recover: position });
    expect(after.answer).toMatchObject({ position, recovered: true });
    expect((await after.received(missed.length)).numbers).toEqual(missed);
  }, 60_000);

  test("nothing is recovered across a time without a server; what was kept is still shown", async () => {
    const all = await start();
    const first = await all.server();
    const second = await all.server();
    const before = await visit(first, { recover: null });
    const kept = await all.publish(3);
    const { position } = await before.received(3);
    await untilStoredAt(all.backend.redis, position);
    for (const server of [first, second]) server.kill("SIGKILL");
    await Promise.all([first.exited, second.exited]);
    await all.publish(2);
    const third = await all.server();
    const after = await visit(third, { recover: position });
    expect(after.answer).toMatchObject({ recovered: false, reason: "gap" });
    const more = await all.publish(2);
    const page = await visit(third, { recover: null, replay: 10 });
    expect((await page.received(5)).numbers).toEqual([...kept, ...more]);
    const response = await fetch(`${third.url}/api/channels/${TOPIC}/history`, {
      headers: { authorization: `Bearer ${ADMIN_SECRET}` },
    });
    const { messages } = await response.json();
    expect(messages.map(({ payload }: { payload: unknown }) => payload)).toEqual([...kept, ...more]);
    expect(messages[2].position).toBe(position);
    // From here on it is recovered again.
    const { position: since } = await page.received(0);
    const fourth = await all.server();
    await third.stop();
    expect((await visit(fourth, { recover: String(since) })).answer.recovered).toBe(false);
    expect((await visit(fourth, { recover: messages[3].position })).answer.recovered).toBe(true);
  }, 60_000);

  test("nothing is recovered across a Redis that lost all", async () => {
    const all = await start();
    const first = await all.server();
    const before = await visit(first, { recover: null });
    await all.publish(2);
    const { position } = await before.received(2);
    await all.backend.redis.flushall();
    const missed = await all.publish(1);
    // The first server still has all in memory, and writes it again.
    const memory = await visit(first, { recover: position });
    const { numbers, position: newest } = await memory.received(1);
    expect(numbers).toEqual(missed);
    // A server that starts before that would begin anew in Redis.
    await untilStoredAt(all.backend.redis, newest);
    const second = await all.server();
    const again = await visit(second, { recover: position });
    expect(again.answer).toMatchObject({ recovered: true });
    await all.redis.restart();
    for (const server of [first, second]) {
      await server.log.until(({ message }) => message === "Redis connected", "Redis connected");
    }
    const third = await all.server();
    for (const server of [first, third]) {
      const lost = await visit(server, { recover: position });
      expect(lost.answer).toMatchObject({ recovered: false });
    }
  }, 60_000);

  test("a server that stands still is replaced by another one, and recovers nothing wrong", async () => {
    const all = await start();
    const [first, second] = [await all.server(), await all.server()];
    const before = await visit(first, { recover: null });
    await all.publish(1);
    const { position } = await before.received(1);
    await untilStoredAt(all.backend.redis, position);
    const missed: number[] = [];
    for (const paused of [first, second]) {
      paused.kill("SIGSTOP");
      missed.push(...(await all.publish(5)));
      const third = await all.server();
      const after = await visit(third, { recover: position });
      expect(after.answer).toMatchObject({ position, recovered: true });
      expect((await after.received(missed.length)).numbers).toEqual(missed);
      paused.kill("SIGCONT");
      const back = await visit(paused, { recover: position });
      expect(back.answer).toMatchObject({ position, recovered: true });
      expect((await back.received(missed.length)).numbers).toEqual(missed);
    }
  }, 60_000);
});

describe("history_store", () => {
  test.each([
    [["--bus", "embedded"], "the embedded bus"],
    [["--redis-url", "redis+cluster://127.0.0.1:1"], "Redis Cluster"],
  ])("is refused with %p", async (args, name) => {
    const failed = startChannel({ args, toml: TOML });
    await expect(failed).rejects.toThrow(
      `${name} cannot keep messages, as channels."room:*".history_store requires`,
    );
  });

  test("is refused where no Redis answers and none is configured", async () => {
    await expect(startChannel({ toml: TOML })).rejects.toThrow(
      'history_store is "redis", but the bus is embedded',
    );
  });

  test("warns of a Redis that may remove what is kept", async () => {
    const all = await start(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    const server = await all.server();
    const has = ({ message }: LogLine): boolean => message.includes("noeviction");
    const line = server.lines.find(has) ?? (await server.log.until(has, "noeviction"));
    expect(line).toMatchObject({ level: "warn", maxmemory_policy: "allkeys-lru" });
  });
});
