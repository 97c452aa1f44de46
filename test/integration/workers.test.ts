import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { Presence, Socket } from "phoenix";
import { call } from "./api-client.ts";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import {
  call as callStream,
  object,
  openSocket,
  SECRET as STREAM_SECRET,
  startPolling,
} from "./channelstream/rig.ts";
import { Folders, runCommand } from "./cli-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { openRawHttp } from "./raw-http.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { SECRETS_TOML, startReloading } from "./reloading.ts";
import { ADMIN_SECRET, type Backend, backendOn, SECRET } from "./world.ts";

/** Clients of each kind: that the kernel gives all of them to one of two workers has a chance of 1 in 2^19. */
const MANY = 20;

/** Connects per second of an address, and those that it has at once. */
const RATE = 2;
const BURST = 10 * RATE;

const LIMITED = "203.0.113.9";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Machine {
  readonly redis: RedisProcess;
  readonly channel: ChannelProcess;
  readonly backend: Backend;
}

async function startMachine(toml = "", ...args: readonly string[]): Promise<Machine> {
  const redis = await startRedis();
  const channel = await startChannel({
    args: ["--redis-url", redis.url, "--workers", "2", ...args],
    toml: `node_name = "hub"\n${SECRETS_TOML}${toml}`,
  });
  return { redis, channel, backend: backendOn(redis.port) };
}

async function stopMachine({ redis, channel, backend }: Machine): Promise<void> {
  backend.stop();
  await channel.stop();
  await redis.stop();
}

/** The parent of a process; `null` if it has ended, though nobody may have asked how. */
function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" ? null : Number(parent);
  } catch {
    return null;
  }
}

const isRunning = (pid: number): boolean => parentOf(pid) !== null;

/** Processes of which `pid` is the parent. */
function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => parentOf(each) === pid);
}

const joinToken = (id: string, channel: string) => mint({ id, channel }, SECRET);

/** Joins clients to a channel, `MANY` or more: until both workers have some. Their ids are numbers. */
async function joinOnBoth(url: string, channel: string): Promise<PhoenixClient[]> {
  const clients: PhoenixClient[] = [];
  ends.push(() => clients.forEach((client) => void client.socket.cut()));
  for (let id = 0; id < MANY; id++) {
    const client = await connectPhoenix(url);
    clients.push(client);
    await client.join(channel, { token: joinToken(String(id), channel) });
  }
  return clients;
}

interface Row {
  readonly server: string;
  readonly users: readonly string[];
  readonly channels: readonly string[];
}

/** The users in a channel by the name of their worker, once there are some on both. */
async function usersByServer(url: string, channel: string): Promise<Readonly<Record<string, string[]>>> {
  let users: Record<string, string[]> = {};
  await eventually(async () => {
    const { body } = await call(url, "/api/connections?limit=1000");
    const rows: readonly Row[] = body.connections;
    users = {};
    for (const row of rows) {
      if (row.channels.includes(channel)) users[row.server] = [...(users[row.server] ?? []), ...row.users];
    }
    // A worker that does not answer within a second is left out.
    return Object.keys(users).length === 2;
  }, "clients of both workers");
  return users;
}

describe("two workers", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await startMachine(`[channelstream]\nsecret = "${STREAM_SECRET}"\n`);
    const names = async () =>
      (await call(machine.channel.url, "/api/servers")).body.servers.map(
        ({ name }: { name: string }) => name,
      );
    await eventually(async () => (await names()).join() === "hub/1,hub/2", "both workers in the list");
  }, 60_000);
  afterAll(async () => {
    await stopMachine(machine);
  }, 60_000);

  test("are one hub: presence, messages of backends, actions of an administrator", async () => {
    const { channel, backend } = machine;
    const clients = await joinOnBoth(channel.url, "room");
    expect(Object.keys(await usersByServer(channel.url, "room")).sort()).toEqual(["hub/1", "hub/2"]);

    const socket = new Socket(`${channel.url.replace("http", "ws")}/websocket`);
    socket.connect();
    ends.push(() => socket.disconnect());
    const room = socket.channel("room", { token: joinToken("observer", "room") });
    const presence = new Presence(room);
    room.join();
    await eventually(() => presence.list((user) => user).length === MANY + 1, "all members in one presence");

    await backend.publish("to:room:news", '{"n":1}');
    for (const client of clients) await client.event("news");

    // On whichever worker they are.
    for (const id of ["0", "1", "2", "3"]) {
      await call(channel.url, "/api/disconnect", { body: { id } });
    }
    await eventually(
      () => presence.list((user) => user).length === MANY - 3,
      "that the others see them leave",
    );
  }, 60_000);

  test("metrics are sums, whichever worker answers", async () => {
    const { url } = machine.channel;
    await joinOnBoth(url, "metrics");
    const headers = { authorization: `Bearer ${ADMIN_SECRET}`, connection: "close" };
    const isSum = async () => {
      const text = await (await fetch(`${url}/metrics`, { headers })).text();
      return text.includes(`\nchannel_connections{protocol="phoenix"} ${MANY}\n`);
    };
    // To any worker each time.
    for (let time = 0; time < 5; time++) await eventually(isSum, "the clients of both workers");
  }, 60_000);

  test("long polls find the worker that has their session", async () => {
    const { channel, backend } = machine;
    // Each request is a connection of its own, to any worker.
    const headers = { connection: "close" };
    const clients = await Promise.all(
      Array.from({ length: 6 }, async (_, id) => {
        const client = await connectPhoenix(channel.url, { transport: "longpoll", headers });
        ends.push(() => client.socket.cut());
        await client.join("polls", { token: joinToken(String(id), "polls") });
        return client;
      }),
    );
    await backend.publish("to:polls:news", '"hello"');
    for (const client of clients) {
      expect((await client.event("news")).payload).toBe("hello");
      expect((await client.ask({ topic: "phoenix", event: "heartbeat" })).status).toBe("ok");
    }
  }, 60_000);

  test("Channelstream is one: users, messages and presence, by polls and by sockets", async () => {
    const { url } = machine.channel;
    const headers = { connection: "close" };
    const ask = async (path: string, body: unknown) => {
      const answer = await callStream(url, "POST", path, body, { headers });
      expect(answer.status).toBe(200);
      return answer.body;
    };
    const users = ["ann", "ben", "cat", "dan", "eve", "fay"];
    const ears = await Promise.all(
      users.map(async (username, at) => {
        const { conn_id } = object(await ask("/connect", { username, channels: ["lobby"] }));
        const id = String(conn_id);
        const ear = at % 2 === 0 ? await openSocket(url, id) : startPolling(url, id);
        ends.push(() => ear.close());
        return ear;
      }),
    );
    const info = object(await ask("/info", { info: { channels: ["lobby"] } }));
    expect(object(object(info.channels).lobby).total_users).toBe(users.length);
    await ask("/message", [{ channel: "lobby", user: "ann", message: { text: "hello" } }]);
    for (const { inbox } of ears) {
      const got = await inbox.until(({ type }) => type === "message", "the message");
      expect(object(got.message)).toEqual({ text: "hello" });
    }
    const sockets = ears.filter((_, at) => at % 2 === 0);
    const unknown = await openSocket(url, crypto.randomUUID());
    expect(await unknown.closed).toBe(1008);
    for (const ear of sockets) await ear.close();
    // A client that closes its socket has a second to come back.
    await eventually(async () => {
      const left = object(await ask("/info", { info: { channels: ["lobby"] } }));
      return object(object(left.channels).lobby).total_users === users.length - sockets.length;
    }, "that those left who closed their sockets");
  }, 60_000);

  test("a worker that is killed is started again, its members leave and may come back", async () => {
    const { channel } = machine;
    const clients = await joinOnBoth(channel.url, "killed");
    const socket = new Socket(`${channel.url.replace("http", "ws")}/websocket`);
    socket.connect();
    ends.push(() => socket.disconnect());
    const room = socket.channel("killed", { token: joinToken("observer", "killed") });
    const presence = new Presence(room);
    room.join();
    await eventually(() => presence.list((user) => user).length === MANY + 1, "all members");

    const users = await usersByServer(channel.url, "killed");
    const [victim = 0] = childrenOf(channel.pid);
    process.kill(victim, "SIGKILL");
    const again = await channel.log.until(
      ({ message }) => message === "worker serves again",
      "the new worker",
    );
    const ended = channel.lines.find(({ message }) => message.startsWith("worker ended"));
    expect([ended?.pid, ended?.how]).toEqual([victim, "SIGKILL"]);
    expect(childrenOf(channel.pid)).toContain(Number(again.pid));

    // Those of the killed worker come back, but for one.
    const lost = (users[`hub/${again.worker}`] ?? []).filter((user) => user !== "observer");
    expect(lost.length).toBeGreaterThan(0);
    for (const id of lost) await clients[Number(id)]?.socket.closed;
    for (const id of lost.slice(1)) {
      const client = await connectPhoenix(channel.url);
      ends.push(() => client.socket.cut());
      const joined = await client.join("killed", { token: joinToken(id, "killed") });
      expect(joined.status).toBe("ok");
    }
    // After 10 s without a report, and what a busy machine needs.
    await eventually(
      () => presence.list((user) => user).length === MANY,
      "that the one who stays away leaves",
      40_000,
    );
  }, 90_000);
});

describe("one worker receives for both", () => {
  /** A machine whose workers have a client each, and which of them receives. */
  async function startRelaying() {
    const machine = await startMachine("", "--log-level", "debug");
    ends.push(() => stopMachine(machine));
    const { channel, backend } = machine;
    // Each worker has such a line of its own at this level.
    await channel.log.until(
      ({ message, worker }) => message === "listening" && worker === undefined,
      "both workers",
    );
    const clients = await joinOnBoth(channel.url, "room");
    const users = await usersByServer(channel.url, "room");
    const { worker } = await channel.log.until(
      ({ message }) => message === "receives messages for all workers",
      "a leader",
    );
    await channel.log.until(({ message }) => message === FOLLOWS, "a follower");
    const [one = 0, two = 0] = childrenOf(channel.pid).sort((a, b) => a - b);
    const clientOn = (number: unknown): PhoenixClient => {
      const client = clients[Number(users[`hub/${number}`]?.[0])];
      if (client === undefined) throw new Error(`no client on worker ${number}`);
      return client;
    };
    const isFirst = worker === 1;
    return {
      ...{ channel, backend },
      leader: { pid: isFirst ? one : two, client: clientOn(worker) },
      follower: { pid: isFirst ? two : one, client: clientOn(isFirst ? 2 : 1) },
    };
  }

  const FOLLOWS = "another worker receives messages for this one";

  /** Publishes until a client receives, and both of its lists are one again. */
  const receivesAgain = (backend: Backend, client: PhoenixClient) =>
    eventually(async () => {
      await backend.publish("to:room:again", "{}");
      return client.frames.all.some(({ event }) => event === "again");
    }, "messages again");

  const hasOneSubscriber = (backend: Backend) =>
    eventually(async () => (await backend.publish("to:room:news", "{}")) === 1, "one subscriber");

  test("one that does not read is no longer waited for, and subscribes by itself", async () => {
    const { channel, backend, leader, follower } = await startRelaying();
    // It alone has listeners for what fills the memory that they share.
    await follower.client.join("pages", { token: joinToken("reader", "pages") });
    process.kill(follower.pid, "SIGSTOP");
    const page = JSON.stringify("x".repeat(1024 * 1024));
    for (let i = 0; i < 40; i++) await backend.publish("to:pages:page", page);
    await backend.publish("to:room:end", "{}");
    await leader.client.event("end");
    process.kill(follower.pid, "SIGCONT");
    const lost = await channel.log.until(
      ({ message, reason }) =>
        message.startsWith("Redis connection lost") && String(reason).includes("worker"),
      "the loss",
    );
    expect(lost.reason).toMatch(/^worker \d, which receives for this one: /);
    await receivesAgain(backend, follower.client);
    await hasOneSubscriber(backend);
  }, 60_000);

  test("the other one subscribes by itself when that one hangs", async () => {
    const { channel, backend, leader, follower } = await startRelaying();
    process.kill(leader.pid, "SIGSTOP");
    const lost = await channel.log.until(
      ({ message }) => message.startsWith("Redis connection lost"),
      "the loss",
    );
    expect(String(lost.reason)).toEndWith("which receives for this one: it does not answer");
    await receivesAgain(backend, follower.client);
    process.kill(leader.pid, "SIGCONT");
    await receivesAgain(backend, leader.client);
    await hasOneSubscriber(backend);
  }, 60_000);

  test("the other one subscribes by itself when that one is killed, and receives for both", async () => {
    const { channel, backend, leader, follower } = await startRelaying();
    const from = channel.lines.length;
    process.kill(leader.pid, "SIGKILL");
    await receivesAgain(backend, follower.client);
    await eventually(
      () => channel.lines.slice(from).some(({ message }) => message === FOLLOWS),
      "that one receives for both again",
      40_000,
    );
    await hasOneSubscriber(backend);
  }, 90_000);
});

test("max_connections and the rate of an address are of both workers together", async () => {
  const limits = `max_connections = 5\nconnects_per_second_per_ip = ${RATE}\n`;
  const machine = await startMachine(`trusted_proxies = ["127.0.0.1"]\n[limits]\n${limits}`);
  ends.push(() => stopMachine(machine));
  const { url } = machine.channel;
  const here = { headers: { "x-forwarded-for": "127.0.0.1" } };
  const tried = await Promise.allSettled(Array.from({ length: MANY }, () => connectPhoenix(url, here)));
  const open = tried.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  expect(open).toHaveLength(5);
  const reasons = tried.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
  expect(reasons.every((reason) => reason.includes("503"))).toBe(true);
  open[0]?.socket.cut();
  await eventually(async () => {
    const client = await connectPhoenix(url, here).catch(() => null);
    client?.socket.cut();
    return client !== null;
  }, "a free place");
  for (const client of open) client.socket.cut();

  const headers = { "x-forwarded-for": LIMITED, connection: "close" };
  const startedAt = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 3 * BURST }, async () => (await fetch(`${url}/nothing-here`, { headers })).status),
  );
  const secs = (performance.now() - startedAt) / 1000;
  const served = answers.filter((status) => status === 404).length;
  expect(new Set(answers)).toEqual(new Set([404, 429]));
  expect(served).toBeGreaterThanOrEqual(BURST);
  expect(served).toBeLessThanOrEqual(BURST + Math.ceil(RATE * secs) + 1);
}, 60_000);

test("max_connections_per_ip counts connections whose requests are passed on", async () => {
  const most = 3;
  const machine = await startMachine(
    `trusted_proxies = ["127.0.0.1"]\n[limits]\nmax_connections_per_ip = ${most}\n[channelstream]\nsecret = "${STREAM_SECRET}"\n`,
  );
  ends.push(() => stopMachine(machine));
  const { port } = machine.channel;
  const request = `GET /listen?conn_id=none HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${LIMITED}\r\n\r\n`;
  const connections = await Promise.all(Array.from({ length: MANY }, () => openRawHttp(port)));
  ends.push(() => connections.forEach((each) => void each.cut()));
  const answers = await Promise.all(
    connections.map((each) => {
      each.write(request);
      return each.answer();
    }),
  );
  const refused = answers.filter(({ status }) => status === 503);
  // Whichever worker accepted them: the first one handles all.
  expect(refused).toHaveLength(MANY - most);
  for (const { headers } of refused) expect(headers.toLowerCase()).toContain("connection: close");
}, 60_000);

test("a worker that hangs is killed and started again", async () => {
  const machine = await startMachine();
  ends.push(() => stopMachine(machine));
  const { channel } = machine;
  const [victim = 0, other = 0] = childrenOf(channel.pid);
  const frozen = performance.now();
  process.kill(victim, "SIGSTOP");
  const hangs = await channel.log.until(
    ({ message }) => message.startsWith("worker does not answer"),
    "that it hangs",
    40_000,
  );
  expect(hangs.pid).toBe(victim);
  // Less the interval since its last sign of life.
  expect(performance.now() - frozen).toBeGreaterThan(17_000);
  const again = await channel.log.until(({ message }) => message === "worker serves again", "the new worker");
  expect(again.worker).toBe(hangs.worker);
  const ended = channel.lines.find(({ message }) => message.startsWith("worker ended"));
  expect([ended?.pid, ended?.how]).toEqual([victim, "SIGKILL"]);
  expect(childrenOf(channel.pid)).toContain(other);
}, 90_000);

test("SIGTERM closes the clients of all workers, and ends all", async () => {
  const machine = await startMachine('shutdown_grace = "0s"\n');
  const { channel } = machine;
  const workers = childrenOf(channel.pid);
  expect(workers).toHaveLength(2);
  const clients = await joinOnBoth(channel.url, "room");
  channel.kill("SIGTERM");
  const codes = await Promise.all(clients.map(async ({ socket }) => (await socket.closed).code));
  expect(new Set(codes)).toEqual(new Set([1012]));
  expect(await channel.exited).toBe(0);
  await stopMachine(machine);
  expect(workers.filter(isRunning)).toEqual([]);
  const listening = channel.lines.filter(({ message }) => message === "listening");
  expect(listening.map(({ workers }) => workers)).toEqual([2]);
}, 60_000);

test("workers end when their supervisor is killed", async () => {
  const machine = await startMachine('shutdown_grace = "0s"\n');
  const { channel } = machine;
  const workers = childrenOf(channel.pid);
  channel.kill("SIGKILL");
  await eventually(() => !workers.some(isRunning), "that no worker is left");
  await stopMachine(machine);
}, 60_000);

test("a reload replaces all of them, without a secret in the configuration too", async () => {
  const server = await startReloading({ toml: 'shutdown_grace = "0s"\n', args: ["--workers", "2"] });
  ends.push(() => server.stop());
  const { channel } = server;
  const before = childrenOf(channel.pid);
  const client = await connectPhoenix(channel.url);
  channel.kill("SIGHUP");
  await channel.log.until(({ message }) => message.startsWith("reload complete"), "the reload");
  expect((await client.socket.closed).code).toBe(1012);
  await server.settled();
  expect(before.filter(isRunning)).toEqual([]);
  expect(childrenOf(server.pid)).toHaveLength(2);
  const after = await Promise.all(Array.from({ length: MANY }, () => connectPhoenix(channel.url)));
  for (const each of after) {
    await each.fence();
    each.socket.cut();
  }
}, 60_000);

describe("what does not work with several workers is said once", () => {
  const folders = new Folders();
  afterAll(() => folders.remove());
  const refusal = async (...args: readonly string[]) => {
    const { code, err } = await runCommand(["serve", "--workers", "2", ...args], { cwd: folders.create() });
    return [code, err.trim().split("\n")] as const;
  };

  test("the embedded bus", async () => {
    const [code, lines] = await refusal("--bus", "embedded");
    expect(code).toBe(2);
    expect(lines).toEqual([expect.stringContaining("2 processes need a Redis")]);
  });

  test("a port in use", async () => {
    const redis = await startRedis();
    ends.push(() => redis.stop());
    const port = freePort();
    const other = Bun.serve({ port, hostname: "127.0.0.1", reusePort: false, fetch: () => new Response() });
    ends.push(() => other.stop(true));
    const [code, lines] = await refusal("--redis-url", redis.url, "--port", String(port));
    expect(code).toBe(1);
    expect(lines.at(-1)).toContain(`cannot listen on 127.0.0.1:${port}: the port is in use`);
  });
});
