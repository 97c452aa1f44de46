import { type FleetWorld, startFleet, TOML } from "../../integration/fleet/fleet-world.ts";
import type { PhoenixClient } from "../../integration/phoenix-client.ts";
import { mint } from "../../integration/phoenix-client.ts";
import { SECRET } from "../../integration/world.ts";

/** Three servers on one Redis, with users, rooms, orders and aircraft. */
export interface LivelyFleet {
  readonly world: FleetWorld;
  stop(): Promise<void>;
}

const SERVERS = ["berlin-1", "berlin-2", "dublin-1"];

const CHANNELS = `
[channels."room:*"]
history = 200
client_events = ["typing"]
[channels."flights:*"]
history = 500
`;

const USERS =
  "alice bruno carla deniz elif farid grace hugo ines jonas kemal lena marta nils olga pablo quentin rosa samir tilda umar vera wanda xenia yusuf zoe".split(
    " ",
  );
const ROOMS = ["room:support", "room:design", "room:on-call"];
const AIRPORTS = ["EDDB", "EIDW", "LFPG", "EHAM", "LEMD", "LOWW"];
const SHOPS = ["berlin", "dublin", "lyon", "porto"];
const SENTENCES = [
  "Good morning!",
  "The deployment of the new checkout is done.",
  "Can somebody look at order 4711?",
  "On it.",
  "Looks good to me, merging.",
  "Lunch at half past twelve?",
  "The figures of last night are in the dashboard.",
  "Thanks, that was quick.",
];
const STEPS = ["received", "paid", "packed", "shipped", "delivered"];

/** The state of one aircraft. */
interface Aircraft {
  readonly icao24: string;
  readonly callsign: string;
  latitude: number;
  longitude: number;
  readonly altitude: number;
  readonly groundspeed: number;
  track: number;
}

export async function startLivelyFleet(): Promise<LivelyFleet> {
  const world = await startFleet(SERVERS, { toml: TOML + CHANNELS });
  const streams = new AbortController();
  const talkers = await connectUsers(world);
  await openStreams(world, streams.signal);
  const timers = startBackends(world, talkers);
  return {
    world,
    async stop() {
      for (const timer of timers) clearInterval(timer);
      streams.abort();
      await world.stop();
    },
  };
}

/** A client that talks in a room. */
interface Talker {
  readonly id: string;
  readonly room: string;
  readonly joinRef: string;
  readonly client: PhoenixClient;
}

/** Several connections for each user, over all servers; returns those that talk, by room. */
async function connectUsers(world: FleetWorld): Promise<readonly Talker[]> {
  const talkers: Talker[] = [];
  const claims = { channels: ["room:*", "flights:*", "orders:*", "user:*"] };
  for (const [i, id] of USERS.entries()) {
    const server = world.servers[i % world.servers.length];
    if (server === undefined) continue;
    const token = mint({ id, channel: "system", ...claims }, SECRET);
    const client = await world.connect(server);
    const room = pick(ROOMS, i);
    for (const name of [`user:${id}`, "room:lobby", `orders:${pick(SHOPS, i)}`])
      await client.join(name, { token });
    const { joinRef } = await client.join(room, { token });
    talkers.push({ id, room, joinRef, client });
    for (let n = 0; n < 3; n++) {
      const other = await world.connect(pick(world.servers, i + n));
      await other.join(`flights:${pick(AIRPORTS, i * n + n)}`, { token });
    }
  }
  return talkers;
}

/** Clients of server-sent events and of event groups. */
async function openStreams(world: FleetWorld, signal: AbortSignal): Promise<void> {
  for (const [i, server] of world.servers.entries()) {
    for (let n = 0; n < 4; n++) {
      const channel = `flights:${pick(AIRPORTS, i + n)}`;
      const token = mint({ id: pick(USERS, 5 * i + n), channel }, SECRET);
      const response = await fetch(`${server.url}/sse?${new URLSearchParams({ channel, token })}`, {
        signal,
      });
      // What arrives is read and forgotten.
      response.body?.pipeTo(new WritableStream()).catch(() => {});
    }
    const token = mint({ id: "dashboard", channel: "orders:*" }, SECRET);
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/groups?token=${token}`);
    socket.onopen = () =>
      socket.send(
        JSON.stringify({ groups: Object.fromEntries(SHOPS.map((shop) => [`orders:${shop}`, ["status"]])) }),
      );
    signal.addEventListener("abort", () => socket.close());
  }
}

function startBackends(world: FleetWorld, talkers: readonly Talker[]): NodeJS.Timeout[] {
  const publish = (name: string, payload: unknown) =>
    void world.backend.publish(name, JSON.stringify(payload));
  const aircraft = AIRPORTS.map((_, airport) =>
    Array.from({ length: 9 }, (__, i) => newAircraft(airport * 9 + i)),
  );
  let order = 4700;
  let tick = 0;
  return [
    // One airport after the other; how many aircraft report goes up and down over minutes.
    setInterval(() => {
      tick++;
      const airport = tick % AIRPORTS.length;
      const reporting = 4 + Math.round(3 * Math.sin(tick / 90) + 2 * Math.random());
      for (const one of aircraft[airport]?.slice(0, reporting) ?? []) {
        move(one);
        publish(`to:flights:${AIRPORTS[airport]}:position`, one);
      }
    }, 120),
    setInterval(() => {
      order++;
      const shop = pick(SHOPS, order);
      publish(`to:orders:${shop}:status`, {
        order,
        status: STEPS[Math.floor(Math.random() * STEPS.length)],
        total: Math.round(1900 + Math.random() * 20_000) / 100,
        items: [{ sku: `T-${order % 90}`, count: 1 + (order % 3) }],
        gift: order % 4 === 0,
      });
    }, 350),
    setInterval(() => {
      const { id: by, room, joinRef, client } = pick(talkers, Math.floor(Math.random() * talkers.length));
      client.send({ joinRef, ref: null, topic: room, event: "typing", payload: JSON.stringify({ by }) });
      publish(`to:${Math.random() < 0.5 ? room : "room:lobby"}:message`, {
        by,
        text: pick(SENTENCES, Math.floor(Math.random() * 8)),
      });
    }, 700),
    setInterval(() => {
      publish(`to:user:${pick(USERS, order)}:notification`, {
        title: "Order shipped",
        order,
        url: `/orders/${order}`,
      });
      // What real fleets have too: a message that nobody listens to, and a client that is not allowed in.
      publish("to:reports:nightly:done", { rows: 18_204 });
      void pick(talkers, order)
        .client.join("orders:closed", { token: "expired" })
        .catch(() => {});
    }, 2500),
  ];
}

function newAircraft(seed: number): Aircraft {
  return {
    icao24: (0x3c4500 + seed * 37).toString(16),
    callsign: `${pick(["DLH", "EIN", "AFR", "KLM", "IBE", "AUA"], seed)}${100 + ((seed * 31) % 900)}`,
    latitude: 48 + ((seed * 7) % 60) / 10,
    longitude: -3 + ((seed * 13) % 180) / 10,
    altitude: 3000 + ((seed * 1700) % 36_000),
    groundspeed: 180 + ((seed * 23) % 300),
    track: (seed * 47) % 360,
  };
}

function move(one: Aircraft): void {
  const heading = (one.track * Math.PI) / 180;
  one.latitude = round(one.latitude + Math.cos(heading) / 500);
  one.longitude = round(one.longitude + Math.sin(heading) / 300);
  one.track = (one.track + Math.round(Math.random() * 4 - 2) + 360) % 360;
}

function round(degrees: number): number {
  return Math.round(degrees * 10_000) / 10_000;
}

function pick<T>(list: readonly T[], index: number): T {
  const found = list[index % list.length];
  if (found === undefined) throw new Error("an empty list");
  return found;
}
