import { afterAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import type { ChannelProcess } from "../channel-process.ts";
import type { PhoenixClient } from "../phoenix-client.ts";
import { randomFrom, SEED } from "../random.ts";
import { startReceiver, type WebhookReceiver, webhookToml } from "../webhook-receiver.ts";
import { type FleetWorld, startFleet, TOML, until } from "./fleet-world.ts";

/** Runs with `CHANNEL_LONG=1`: `TEST_SEED` gives another sequence. */
const SECONDS = 90;
const ROOMS = ["room:1", "room:2", "room:3", "room:4", "room:5"];
const USERS = ["alice", "bob", "carol", "dave", "erin", "frank"];

let world: FleetWorld;
let receiver: WebhookReceiver;
afterAll(async () => {
  await world?.stop();
  await receiver?.down();
});

interface Joined {
  readonly server: ChannelProcess;
  readonly client: PhoenixClient;
  readonly room: string;
  readonly user: string;
}

/** The users in a channel according to its events. Throws where an event cannot follow the one before. */
function membersOf(events: readonly string[]): string[] {
  const members = new Set<string>();
  let occupied = false;
  for (const [at, text] of events.entries()) {
    const [event, user = ""] = text.split(" ");
    const wrong = (): Error => new Error(`${text} at ${at} in ${events.slice(0, at + 1).join(", ")}`);
    if (event === "channel_occupied" ? occupied : !occupied) throw wrong();
    if (event === "channel_occupied") occupied = true;
    else if (event === "channel_vacated") {
      if (members.size > 0) throw wrong();
      occupied = false;
    } else if (event === "member_added") {
      if (members.has(user)) throw wrong();
      members.add(user);
    } else if (!members.delete(user)) throw wrong();
  }
  return [...members].toSorted();
}

test.skipIf(process.env.CHANNEL_LONG !== "1")(
  "events add up to the members, through kills of servers, connections and the receiver",
  async () => {
    const seed = SEED;
    const random = randomFrom(seed);
    receiver = startReceiver();
    world = await startFleet(["a", "b", "c"], { toml: webhookToml(receiver) + TOML });
    const redis = new Redis(world.redis.port, "127.0.0.1");
    let servers = [...world.servers];
    let joined: Joined[] = [];
    let started = 3;
    let receives = true;
    const end = performance.now() + SECONDS * 1000;
    const { pick } = random;
    while (performance.now() < end) {
      const dice = random.int(1000);
      if (dice < 500) {
        const [server, room, user] = [pick(servers), pick(ROOMS), pick(USERS)];
        joined.push({ server, room, user, client: await world.join(server, room, user) });
      } else if (dice < 900 && joined.length > 0) {
        const one = pick(joined);
        one.client.socket.cut();
        joined = joined.filter((each) => each !== one);
      } else if (dice < 910 && servers.length > 1) {
        const server = pick(servers);
        server.kill("SIGKILL");
        servers = servers.filter((each) => each !== server);
        joined = joined.filter((each) => each.server !== server);
      } else if (dice < 918 && servers.length < 3) {
        started++;
        servers.push(await world.start(`s${started}`));
      } else if (dice < 922 && servers.length > 1) {
        const server = pick(servers);
        servers = servers.filter((each) => each !== server);
        joined = joined.filter((each) => each.server !== server);
        await server.stop();
      } else if (dice < 940) {
        if (receives) await receiver.down();
        else receiver.up();
        receives = !receives;
      } else if (dice < 960) receiver.status = receiver.status === 204 ? 500 : 204;
      else if (dice < 965) await redis.call("CLIENT", "KILL", "TYPE", "normal").catch(() => {});
      await Bun.sleep(random.int(60));
    }
    receiver.status = 204;
    if (!receives) receiver.up();
    redis.disconnect();
    const truth = (room: string): string[] =>
      [...new Set(joined.filter((each) => each.room === room).map(({ user }) => user))].toSorted();
    for (const room of ROOMS) {
      const seen = await until(
        async () => membersOf(receiver.eventsOf(room)),
        (members) => members.join() === truth(room).join(),
        60_000,
      ).catch((error) => {
        throw new Error(`seed ${seed}, ${room}: ${String(error)}, not ${truth(room).join()}`);
      });
      expect(seen).toEqual(truth(room));
    }
    const byId = new Map<string, string>();
    for (const { id, events } of receiver.accepted.all) {
      const text = JSON.stringify(events);
      expect(byId.get(id) ?? text).toBe(text);
      byId.set(id, text);
    }
    console.log(
      `seed ${seed}: ${receiver.accepted.all.length} requests, ${byId.size} ids, ${started} servers`,
    );
  },
  300_000,
);
