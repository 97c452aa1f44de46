import { afterEach, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { eventually } from "./phoenix-client.ts";
import { killSubscribers, markerTime } from "./positions-rig.ts";
import { type Random, randomFrom, SEED } from "./random.ts";
import { Follower, type Loss, type Published } from "./recovery-follower.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { type Line, startLine } from "./wild/line.ts";
import { SECRET } from "./world.ts";

/** Seconds of the long test: 60, or `TEST_RECOVERY_SECONDS`. */
const SECONDS = Number(process.env.TEST_RECOVERY_SECONDS ?? 60);

const TOPICS = Array.from({ length: 8 }, (_, i) => `room:${i}`);

const TOML = `
jwt_secret = "${SECRET}"
shutdown_grace = "200ms"
[channels."room:*"]
history = 5000
history_bytes = "16MiB"
`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A server that is restarted at times, behind a line to its Redis. */
class Server {
  readonly port = freePort();
  readonly bus: Line;
  /** Unix time in ms at which the current process was started. */
  startedAt = 0;
  /** Whether it accepts connections and is not about to be stopped. */
  up = false;
  /** Unix times in ms at which messages may have been missed, or came late. */
  readonly disturbed: number[] = [];
  #process: ChannelProcess | null = null;

  private constructor(bus: Line) {
    this.bus = bus;
  }

  static async start(redis: RedisProcess): Promise<Server> {
    const server = new Server(await startLine(redis.port));
    ends.push(() => server.bus.stop());
    ends.push(() => server.end("SIGKILL"));
    await server.begin();
    return server;
  }

  async begin(): Promise<void> {
    this.startedAt = Date.now();
    const args = ["--redis-url", `redis://127.0.0.1:${this.bus.port}`];
    this.#process = await startChannel({ args, port: this.port, toml: TOML });
    this.up = true;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.up = false;
    this.#process?.kill(signal);
    await this.#process?.exited;
  }
}

/** Publishes numbered messages on all topics, some large, some binary, over one connection: their order is known. */
class Publisher {
  readonly published: Published = { last: new Map(), uncertain: new Set() };
  readonly #redis: Redis;
  readonly #random: Random;
  readonly #ended: Promise<void>;
  #stopped = false;

  constructor(port: number, random: Random) {
    this.#redis = new Redis({
      host: "127.0.0.1",
      port,
      enableOfflineQueue: false,
      // A message that is under way when the connection is lost may have been published: it is not sent again.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => 50,
    });
    this.#redis.on("error", () => {});
    ends.push(() => this.#redis.disconnect());
    this.#random = random;
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }

  /** Publishes one message on each topic, which Redis gets in any case. */
  async publishLast(): Promise<void> {
    for (const topic of TOPICS) {
      const number = this.#next(topic);
      await eventually(() => this.#publish(topic, number), "a message is published");
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const batch = Array.from({ length: this.#random.int(8) }, () => {
        const topic = this.#random.pick(TOPICS);
        return this.#publish(topic, this.#next(topic));
      });
      await Promise.all(batch);
      await Bun.sleep(10);
    }
  }

  #next(topic: string): number {
    const number = (this.published.last.get(topic) ?? 0) + 1;
    this.published.last.set(topic, number);
    return number;
  }

  async #publish(topic: string, number: number): Promise<boolean> {
    const dice = this.#random.real();
    const bytes = Buffer.from([0xff, 0, 0xff, 0, 0, 0, 0]);
    bytes.writeUInt32BE(number, 3);
    const pad = dice > 0.98 ? "x".repeat(30_000) : "";
    const [event, payload] = dice < 0.1 ? ["b", bytes] : ["n", JSON.stringify({ n: number, pad })];
    try {
      await this.#redis.publish(`to:${topic}:${event}`, payload);
      return true;
    } catch {
      this.published.uncertain.add(`${topic} ${number}`);
      return false;
    }
  }
}

/** A follower on a line of its own, which leads to one of the servers. */
interface Client {
  readonly follower: Follower;
  readonly line: Line;
  /** The server that its next connection leads to. */
  server: number;
  /** The server before, and how many connections there were when it was left. Until there is one more, what is read comes from it. */
  left: { readonly server: number; readonly connections: number };
}

/** The server that a client's newest connection leads to. */
function connectedTo({ line, server, left }: Client): number {
  return line.attempts.length > left.connections ? server : left.server;
}

class Rig {
  readonly random = randomFrom(SEED);
  readonly redis: RedisProcess;
  readonly servers: readonly Server[];
  readonly publisher: Publisher;
  readonly clients: Client[] = [];
  disconnects = 0;

  private constructor(redis: RedisProcess, servers: readonly Server[]) {
    this.redis = redis;
    this.servers = servers;
    this.publisher = new Publisher(redis.port, this.random);
  }

  static async start(servers: number, clients: number): Promise<Rig> {
    const redis = await startRedis(["--enable-debug-command", "yes"]);
    ends.push(() => redis.stop());
    // Those that start in the same moment need a while until they have a common position.
    const started: Server[] = [];
    for (let i = 0; i < servers; i++) started.push(await Server.start(redis));
    const rig = new Rig(redis, started);
    for (let i = 0; i < clients; i++) await rig.#add(i);
    await eventually(() => rig.clients.every(({ follower }) => follower.firsts >= 2), "all have joined");
    return rig;
  }

  async #add(i: number): Promise<void> {
    const at = i % this.servers.length;
    const line = await startLine(this.servers[at]?.port ?? 0);
    ends.push(() => line.stop());
    const client: Client = {
      line,
      server: at,
      left: { server: at, connections: 0 },
      follower: new Follower({
        name: `client ${i}`,
        url: line.url,
        transport: i % 4 === 3 ? "longpoll" : "websocket",
        topics: [TOPICS[i % TOPICS.length] ?? "", TOPICS[(i + 3) % TOPICS.length] ?? ""],
        published: this.publisher.published,
        server: () => connectedTo(client),
      }),
    };
    ends.push(() => client.follower.stop());
    this.clients.push(client);
  }

  /** Disconnects a client. It may come to another server. */
  disconnect(client: Client): void {
    this.disconnects++;
    if (this.random.chance(0.6)) this.move(client);
    if (this.random.chance(0.5)) client.line.cut();
    else client.follower.socket.conn?.close();
  }

  /** Leads the next connection of a client to a server that is up. */
  move(client: Client): void {
    const others = this.servers.flatMap(({ up }, i) => (up ? [i] : []));
    if (others.length === 0) return;
    client.left = { server: connectedTo(client), connections: client.line.attempts.length };
    client.server = this.random.pick(others);
    client.line.aim(this.servers[client.server]?.port ?? 0);
  }

  /** Ends a server and starts it again; its clients come to others. */
  async restart(at: number, signal: NodeJS.Signals): Promise<void> {
    const server = this.servers[at];
    if (server === undefined || this.servers.filter(({ up }) => up).length < 2 || !server.up) return;
    server.up = false;
    const clients = this.clients.filter((client) => client.server === at);
    for (const client of clients) this.move(client);
    this.disconnects += clients.length;
    await server.end(signal);
    await server.begin();
  }

  /** Ends all faults. All clients must get the last messages. */
  async settle(): Promise<void> {
    for (const { bus } of this.servers) bus.resume();
    await eventually(() => this.servers.every(({ up }) => up), "all servers are up");
    await this.publisher.stop();
    await Bun.sleep(1500);
    await this.publisher.publishLast();
    const { last } = this.publisher.published;
    await eventually(
      () =>
        this.clients.every(({ follower }) =>
          TOPICS.every((topic) => follower.last(topic) === 0 || follower.last(topic) === last.get(topic)),
        ),
      "all get the last message",
    );
  }

  get losses(): Loss[] {
    return this.clients.flatMap(({ follower }) => follower.losses);
  }

  get problems(): string[] {
    return this.clients.flatMap(({ follower }) => follower.problems);
  }

  summary(): Record<string, unknown> {
    const reasons: Record<string, number> = {};
    for (const { kind, reason } of this.losses) {
      reasons[`${kind}: ${reason}`] = (reasons[`${kind}: ${reason}`] ?? 0) + 1;
    }
    return {
      seed: SEED,
      disconnects: this.disconnects,
      messages: [...this.publisher.published.last.values()].reduce((sum, each) => sum + each, 0),
      recovered: this.clients.reduce((sum, { follower }) => sum + follower.recovered, 0),
      ...reasons,
      problems: this.problems.slice(0, 5),
    };
  }
}

test("clients that are restarted, moved and cut off miss nothing while Redis is there", async () => {
  const rig = await Rig.start(3, 24);
  const { random } = rig;
  const until = performance.now() + 12_000;
  let restarting: Promise<void> = Promise.resolve();
  let due = performance.now() + 1000;
  while (performance.now() < until) {
    rig.disconnect(random.pick(rig.clients));
    await Bun.sleep(random.int(40));
    if (performance.now() < due) continue;
    due = performance.now() + 1500;
    await restarting;
    restarting = rig.restart(random.int(3), random.chance(0.5) ? "SIGKILL" : "SIGTERM");
  }
  await restarting;
  await rig.settle();
  console.log(rig.summary());
  expect(rig.problems).toEqual([]);
  // A server knows no position from before its start, and nothing else may be lost.
  for (const { kind, reason, position, server } of rig.losses) {
    expect({ kind, reason }).toEqual({ kind: "join", reason: "unknown position" });
    expect(markerTime(position)).toBeLessThan(rig.servers[server]?.startedAt ?? 0);
  }
}, 60_000);

test("servers that are restarted one after the other lose nothing: each client has a position that the next one knows", async () => {
  const rig = await Rig.start(2, 24);
  for (let i = 0; i < 6; i++) {
    // The other server may have just started, and knows no position from before that.
    const { startedAt } = rig.servers[(i + 1) % 2] ?? { startedAt: 0 };
    const isKnown = (position: string | null) => markerTime(position) >= startedAt;
    await eventually(
      () => rig.clients.every(({ follower }) => follower.positions.every(isKnown)),
      "positions that the other server knows",
    );
    await rig.restart(i % 2, "SIGTERM");
    await eventually(() => rig.clients.every(({ server }) => server !== i % 2), "all are elsewhere");
    const joined = () => rig.clients.every(({ follower }) => follower.joined);
    await eventually(joined, "all are back");
  }
  await rig.settle();
  console.log(rig.summary());
  expect(rig.problems).toEqual([]);
  expect(rig.losses).toEqual([]);
}, 60_000);

test(
  `with every part failing for ${SECONDS} s, no client misses a message without being notified`,
  async () => {
    const rig = await Rig.start(3, 36);
    const { random, servers, redis } = rig;
    const control = new Redis({ host: "127.0.0.1", port: redis.port, retryStrategy: () => 100 });
    control.on("error", () => {});
    ends.push(() => control.disconnect());
    const faults: Record<string, number> = {};
    const fault = async (): Promise<void> => {
      const server = random.int(servers.length);
      const [name, act] = random.pick<readonly [string, () => unknown]>([
        ["kill one subscriber", () => killSubscribers(control)],
        ["kill all subscribers", () => killSubscribers(control, true)],
        ["cut a bus", () => servers[server]?.bus.cut()],
        ["cut a bus", () => servers[server]?.bus.cut()],
        ["stop Redis for a moment", () => control.call("DEBUG", "SLEEP", String(random.real() / 2))],
        [
          "delay a bus",
          async () => {
            servers[server]?.bus.stall();
            await Bun.sleep(random.int(1300));
            servers[server]?.bus.resume();
          },
        ],
        ["kill a server", () => rig.restart(server, "SIGKILL")],
        ["stop a server", () => rig.restart(server, "SIGTERM")],
        ["restart Redis", () => (random.chance(0.3) ? redis.restart() : null)],
      ]);
      faults[name] = (faults[name] ?? 0) + 1;
      await Promise.resolve(act()).catch(() => {});
    };
    const until = performance.now() + SECONDS * 1000;
    const failing = (async () => {
      while (performance.now() < until) {
        await fault();
        await Bun.sleep(300 + random.int(700));
      }
    })();
    while (performance.now() < until) {
      rig.disconnect(random.pick(rig.clients));
      await Bun.sleep(random.int(20));
    }
    await failing;
    await rig.settle();
    console.log({ ...rig.summary(), faults });
    expect(rig.problems).toEqual([]);
    expect(rig.disconnects).toBeGreaterThan(SECONDS * 10);
    expect(rig.clients.reduce((sum, { follower }) => sum + follower.recovered, 0)).toBeGreaterThan(
      SECONDS * 5,
    );
    for (const { reason } of rig.losses) expect(["gap", "unknown position"]).toContain(reason);
  },
  SECONDS * 1000 + 60_000,
);
