import { expect, test } from "bun:test";
import { Presence, type PresenceEntry, Socket } from "phoenix";
import { startChannel } from "./channel-process.ts";
import { eventually, mint } from "./phoenix-client.ts";
import { freePort, startRedis } from "./redis-process.ts";
import { backendOn, SECRET } from "./world.ts";

const PEOPLE = 30;

interface Person {
  readonly socket: Socket;
  readonly presence: Presence;
  readonly news: unknown[];
  /** Number of states received: one per join. */
  states: number;
}

test("after a crash and restart of the server every client rejoins on its own, and presence is correct", async () => {
  const redis = await startRedis();
  const backend = backendOn(redis.port);
  const port = freePort();
  const start = () => startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET], port });
  let server = await start();
  const people: Person[] = [];
  try {
    for (let i = 0; i < PEOPLE; i++) {
      const socket = new Socket(`ws://127.0.0.1:${port}/websocket`, {
        reconnectAfterMs: () => 50,
        rejoinAfterMs: () => 50,
      });
      socket.connect();
      const channel = socket.channel("room", {
        token: mint({ id: `user ${i % 20}`, channel: "room" }, SECRET),
      });
      const presence = new Presence(channel);
      const news: unknown[] = [];
      channel.on("news", (payload) => void news.push(payload));
      const person: Person = { socket, presence, news, states: 0 };
      channel.on("presence_state", () => void person.states++);
      channel.join();
      people.push(person);
    }
    const all = (joins: number): boolean => {
      const seen = people.map(({ presence }) => {
        const entries: [string, number][] = [];
        presence.list((id: string, { metas }: PresenceEntry) => entries.push([id, metas.length]));
        return JSON.stringify(entries.sort());
      });
      const count = (i: number): number => (i < PEOPLE - 20 ? 2 : 1);
      const truth = JSON.stringify(
        Array.from({ length: 20 }, (_, i): [string, number] => [`user ${i}`, count(i)]).sort(),
      );
      return people.every(({ states }) => states === joins) && seen.every((each) => each === truth);
    };
    await eventually(() => all(1), "everyone sees everyone");

    for (const [i, signal] of (["SIGKILL", "SIGTERM"] as const).entries()) {
      server.kill(signal);
      await server.exited;
      server = await start();
      await eventually(() => all(i + 2), `everyone sees everyone after ${signal}`);
      await backend.publish("to:room:news", JSON.stringify(signal));
      await eventually(() => people.every(({ news }) => news.at(-1) === signal), "the news");
    }
    expect(people.map(({ news }) => news)).toEqual(people.map(() => ["SIGKILL", "SIGTERM"]));
  } finally {
    for (const { socket } of people) socket.disconnect();
    backend.stop();
    await server.stop();
    await redis.stop();
  }
}, 30_000);
