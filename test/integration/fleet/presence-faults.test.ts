import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Channel, Presence, type PresenceEntry, Socket } from "phoenix";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { type Random, randomFrom, SEED } from "../random.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { SECRET } from "../world.ts";
import { TOML } from "./fleet-world.ts";
import { type LossyProxy, startLossyProxy } from "./lossy-proxy.ts";

/*
 * Three servers on one Redis, the third by a proxy, and clients of each with the Presence of phoenix.js. They join, leave,
 * and lose their connections, while servers are killed or frozen, Redis restarts, and the proxy loses one direction.
 * CHANNEL_LONG=1: ten rounds of random faults instead of one of each.
 */

const TOPICS = ["room:1", "room:2"] as const;
const PER_SERVER = 4;
/** A leave that others see of one who stayed may follow a kill or a freeze of its server within this time, in ms. */
const EXCUSED = 50_000;
const LONG = process.env.CHANNEL_LONG === "1";

interface Host {
  readonly port: number;
  readonly redisUrl: () => string;
  process: ChannelProcess | null;
  /** When it was killed or frozen last. */
  faultAt: number;
}

interface Leave {
  readonly observer: string;
  readonly user: string;
  readonly at: number;
}

let redis: RedisProcess;
let proxy: LossyProxy;
let hosts: Host[];
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startLossyProxy(redis.port);
  hosts = [redis.url, redis.url, proxy.url].map((url) => ({
    port: freePort(),
    redisUrl: () => url,
    process: null,
    faultAt: Number.NEGATIVE_INFINITY,
  }));
  await Promise.all(hosts.map(start));
}, 60_000);
afterAll(async () => {
  await Promise.all(
    hosts.map(async ({ process }) => {
      process?.kill("SIGCONT");
      await process?.stop();
    }),
  );
  await proxy.stop();
  await redis.stop();
}, 60_000);

async function start(host: Host): Promise<void> {
  host.process = await startChannel({
    args: ["--port", String(host.port), "--redis-url", host.redisUrl()],
    toml: `${TOML}presence_window = "20ms"\n[channels."room:*"]\npresence_meta = true\n`,
  });
}

/** One connection of a user. `stays`: it never leaves by itself. */
class Person {
  readonly user: string;
  readonly topic: string;
  readonly host: Host;
  readonly stays: boolean;
  readonly socket: Socket;
  readonly leaves: Leave[] = [];
  channel: Channel | null = null;
  presence: Presence | null = null;
  synced = false;

  constructor(user: string, topic: string, host: Host, stays: boolean) {
    this.user = user;
    this.topic = topic;
    this.host = host;
    this.stays = stays;
    this.socket = new Socket(`ws://127.0.0.1:${host.port}/websocket`, {
      params: { userToken: mint({ id: user, channel: topic }, SECRET) },
      reconnectAfterMs: () => 100,
      rejoinAfterMs: () => 100,
    });
    // phoenix.js keeps diffs that wait for a state, and applies them to the state of a later connection.
    this.socket.onClose(() => {
      this.synced = false;
      if (this.presence !== null) Object(this.presence).pendingDiffs = [];
    });
    this.socket.connect();
  }

  join(): void {
    const channel = this.socket.channel(this.topic, { presence: { n: 0 } });
    const presence = new Presence(channel);
    this.channel = channel;
    this.presence = presence;
    this.synced = false;
    presence.onSync(() => {
      this.synced = true;
    });
    presence.onLeave((user: string, current: PresenceEntry) => {
      if (current.metas.length === 0) this.leaves.push({ observer: this.user, user, at: performance.now() });
    });
    channel.join();
  }

  leave(): void {
    this.channel?.leave();
    this.channel = null;
    this.presence = null;
  }

  cut(): void {
    const { conn } = this.socket;
    if (conn !== null && "terminate" in conn && typeof conn.terminate === "function") conn.terminate();
  }

  /** `user: connections`, one a line. */
  seen(): string {
    const lines: string[] = [];
    this.presence?.list((user: string, { metas }: PresenceEntry) => lines.push(`${user} ${metas.length}`));
    return lines.sort().join("\n");
  }
}

function truth(people: readonly Person[], topic: string): string {
  const counts = new Map<string, number>();
  for (const { user, topic: own, channel } of people) {
    if (own === topic && channel !== null) counts.set(user, (counts.get(user) ?? 0) + 1);
  }
  return [...counts]
    .map(([user, count]) => `${user} ${count}`)
    .sort()
    .join("\n");
}

function act(random: Random, person: Person): void {
  if (person.stays) {
    if (person.synced && random.chance(0.3)) person.channel?.push("presence", { n: random.int(5) });
  } else if (person.channel === null) person.join();
  else if (!person.synced) return;
  else if (random.chance(0.6)) person.leave();
  else if (random.chance(0.5)) person.cut();
  else person.channel.push("presence", { n: random.int(5) });
}

const FAULTS = ["redis", "up", "down", "kill", "freeze"] as const;

async function cause(fault: (typeof FAULTS)[number], random: Random): Promise<void> {
  if (fault === "redis") {
    await redis.down();
    await Bun.sleep(2000);
    await redis.restart();
    await Bun.sleep(5000);
  } else if (fault === "up" || fault === "down") {
    proxy.lose(fault);
    await Bun.sleep(5000);
    proxy.heal();
    await Bun.sleep(4000);
  } else {
    const host = random.pick(hosts.slice(0, 2));
    const kill = fault === "kill";
    host.faultAt = performance.now();
    host.process?.kill(kill ? "SIGKILL" : "SIGSTOP");
    await Bun.sleep(kill ? 3000 : 30_000);
    host.faultAt = performance.now();
    if (kill) await start(host);
    else host.process?.kill("SIGCONT");
    await Bun.sleep(kill ? 10_000 : 2000);
  }
}

test(
  "phoenix.js folds the presence of three servers to the truth, whatever happens to them, and sees nobody leave who stayed",
  async () => {
    const random = randomFrom(SEED);
    const people: Person[] = [];
    for (const [i, host] of hosts.entries()) {
      for (const topic of TOPICS) {
        people.push(new Person(`stays ${i} ${topic}`, topic, host, true));
        for (let n = 0; n < PER_SERVER; n++) {
          people.push(
            new Person(random.pick(["alice", "bob", "__proto__", "carol", "7"]), topic, host, false),
          );
        }
      }
    }
    for (const person of people) person.join();
    let running = true;
    const acting = (async () => {
      while (running) {
        act(random, random.pick(people));
        await Bun.sleep(20);
      }
    })();
    await Bun.sleep(2000);
    const faults = LONG ? Array.from({ length: 30 }, () => random.pick(FAULTS)) : FAULTS;
    for (const fault of faults) await cause(fault, random);
    running = false;
    await acting;
    for (const person of people) if (person.channel === null) person.join();
    for (const { port } of hosts) {
      await eventually(
        async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status === 200,
        "ready",
        30_000,
      );
    }
    let wrong = "";
    await eventually(
      () =>
        people.every((person) => {
          const [seen, wanted] = [person.seen(), truth(people, person.topic)];
          if (seen !== wanted)
            wrong = `${person.user} on ${person.host.port} sees\n${seen}\nwanted\n${wanted}`;
          return seen === wanted;
        }),
      "agreement",
      20_000,
    ).catch((error: unknown) => {
      throw new Error(`seed ${SEED}: ${error}: ${wrong}`);
    });
    const byUser = new Map(people.filter(({ stays }) => stays).map((person) => [person.user, person]));
    const unexcused = people
      .flatMap(({ leaves }) => leaves)
      .filter(({ user, at }) => {
        const person = byUser.get(user);
        return person !== undefined && at - person.host.faultAt > EXCUSED;
      });
    expect(unexcused).toEqual([]);
    for (const { process } of hosts) {
      expect(process?.lines.filter(({ level }) => level === "error" || level === "unparsed")).toEqual([]);
    }
    for (const { socket } of people) socket.disconnect();
  },
  LONG ? 1_200_000 : 200_000,
);
