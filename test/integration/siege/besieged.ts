import type Redis from "ioredis";
import { readMetrics, total } from "../../soak/samples.ts";
import { type ChannelProcess, type LogLine, startChannel } from "../channel-process.ts";
import type { Inbox } from "../inbox.ts";
import {
  connectPhoenix,
  eventually,
  type Message,
  mint,
  type PhoenixClient,
  type Reply,
} from "../phoenix-client.ts";
import { type RedisProcess, startRedis } from "../redis-process.ts";
import { backendOn, type Heard, SECRET } from "../world.ts";

export interface SiegeOptions {
  readonly redisArgs?: readonly string[];
  /** `redis_url`; without it the address of the Redis. */
  readonly url?: (redis: RedisProcess) => string;
  readonly args?: readonly string[];
  readonly toml?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Names of the bus connections in `CLIENT LIST`; connections between servers have other names. */
const BUS_CONNECTIONS = ["channel-subscriber", "channel-publisher"];

/** The executable with a Redis that the test disturbs, a client in `room`, and a backend with its own connection. */
export interface Siege {
  readonly redis: RedisProcess;
  readonly channel: ChannelProcess;
  readonly client: PhoenixClient;
  /** For commands of an operator and messages of a backend. */
  readonly control: Redis;
  /** What backends receive of `room`. */
  readonly received: Inbox<Heard>;
  readonly tally: Tally;
  /** Publishes the next number to the room. */
  publish(): Promise<void>;
  /** Pushes the next number; resolves to the reply. */
  push(): Promise<Reply>;
  /** Waits until `/ready` is 200; resolves to the duration in ms. */
  untilReady(timeout?: number): Promise<number>;
  untilAway(): Promise<void>;
  gaps(): Promise<number>;
  /** Kills the server's own connections to Redis, all or those of one name. */
  killConnections(name?: "channel-subscriber" | "channel-publisher"): Promise<number>;
  /** Log lines above the level debug. */
  logged(): readonly LogLine[];
  /** Checks everything received: nothing twice, in order, every reply correct, no client disconnected. */
  verify(): Promise<void>;
  stop(): Promise<void>;
}

interface Tally {
  readonly published: { readonly serial: number; readonly receivers: number | null }[];
  readonly pushed: Map<number, "ok" | "backend unavailable">;
}

export async function startSiege(options: SiegeOptions = {}): Promise<Siege> {
  const redis = await startRedis(options.redisArgs ?? []);
  const channel = await startChannel({
    args: ["--redis-url", options.url?.(redis) ?? redis.url, "--jwt-secret", SECRET, ...(options.args ?? [])],
    ...(options.toml === undefined ? {} : { toml: options.toml }),
    ...(options.env === undefined ? {} : { env: options.env }),
  }).catch(async (error: unknown) => {
    await redis.stop();
    throw error;
  });
  const backend = backendOn(redis.port);
  const control = backend.redis;
  const client = await connectPhoenix(channel.url);
  const tally: Tally = { published: [], pushed: new Map() };
  const untilReady = async (timeout = 10_000): Promise<number> => {
    const start = performance.now();
    await eventually(async () => (await ready(channel.url)) === 200, "/ready 200", timeout);
    return performance.now() - start;
  };
  let serial = 0;
  let mark = 0;
  await untilReady();
  const received = await backend.listen("from:room:said");
  await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });

  return {
    redis,
    channel,
    client,
    control,
    received,
    tally,
    untilReady,
    publish: async () => {
      const number = ++serial;
      const receivers = await control.publish("to:room:news", String(number)).catch(() => null);
      tally.published.push({ serial: number, receivers });
    },
    push: async () => {
      const number = ++mark;
      const said: Omit<Message, "ref"> = { topic: "room", event: "said", payload: `{"mark":${number}}` };
      const reply = await client.ask(said);
      const reason = JSON.stringify(reply.response);
      if (reply.status !== "ok" && reason !== '{"reason":"backend unavailable"}') {
        throw new Error(`a push was answered ${String(reply.status)} ${reason}`);
      }
      tally.pushed.set(number, reply.status === "ok" ? "ok" : "backend unavailable");
      return reply;
    },
    untilAway: async () => {
      await eventually(async () => (await ready(channel.url)) === 503, "/ready 503", 10_000);
    },
    gaps: async () => total(await readMetrics(channel.url), "channel_bus_gaps_total"),
    killConnections: async (name) => {
      const list = String(await control.client("LIST"));
      const names = name === undefined ? BUS_CONNECTIONS : [name];
      const own = list.split("\n").filter((line) => names.some((each) => line.includes(`name=${each}`)));
      // In one write: the server must not be back from the first loss before the second.
      const ids = own.map((line) => String(/^id=(\d+)/.exec(line)?.[1]));
      const killed = await control.pipeline(ids.map((id) => ["client", "kill", "id", id])).exec();
      return killed?.filter(([error, count]) => error === null && count === 1).length ?? 0;
    },
    logged: () => channel.lines.filter(({ level }) => level !== "debug"),
    verify: async () => {
      await client.fence();
      // Waits for messages in flight; a missing one fails below, with its number.
      await eventually(() => allArrived(client, received, tally), "what was said").catch(() => {});
      verify(client, received, tally);
    },
    stop: async () => {
      client.socket.cut();
      backend.stop();
      const code = await channel.stop();
      await redis.stop();
      if (code !== 0) throw new Error(`the server ended with ${code}:\n${channel.output().slice(-2000)}`);
    },
  };
}

async function ready(url: string): Promise<number> {
  return (await fetch(`${url}/ready`)).status;
}

function allArrived(client: PhoenixClient, received: Inbox<Heard>, { published, pushed }: Tally): boolean {
  const numbers = numbersReceived(client);
  const marks = marksReceived(received);
  return (
    published.every(({ serial, receivers }) => receivers !== 1 || numbers.includes(serial)) &&
    [...pushed].every(([mark, answer]) => answer !== "ok" || marks.includes(mark))
  );
}

function numbersReceived({ frames }: PhoenixClient): number[] {
  return frames.all.filter((each) => each.event === "news").map((each) => Number(each.payload));
}

function marksReceived({ all }: Inbox<Heard>): number[] {
  return all.map(({ payload }) => Number(/\d+/.exec(payload.toString())?.[0]));
}

function verify(client: PhoenixClient, received: Inbox<Heard>, { published, pushed }: Tally): void {
  const frames = client.frames.all;
  const ended = frames.filter((each) => each.event === "phx_close" || each.event === "phx_error");
  if (client.socket.isClosed || ended.length > 0) throw new Error("the client was disconnected");
  const numbers = numbersReceived(client);
  for (const [i, number] of numbers.entries()) {
    if (i > 0 && number <= (numbers[i - 1] ?? 0))
      throw new Error(`received ${number} after ${numbers[i - 1]}`);
  }
  const got = new Set(numbers);
  for (const { serial, receivers } of published) {
    if (receivers === 1 && !got.has(serial))
      throw new Error(`${serial} was given to the server and not to the client`);
    if (receivers === 0 && got.has(serial))
      throw new Error(`${serial} was sent to no subscriber and was received`);
  }
  const marks = marksReceived(received);
  if (new Set(marks).size !== marks.length) throw new Error("a push arrived twice");
  for (const [number, answer] of pushed) {
    const arrived = marks.includes(number);
    if (arrived !== (answer === "ok"))
      throw new Error(`push ${number}: "${answer}", and arrived is ${arrived}`);
  }
}
