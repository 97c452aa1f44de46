import { expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { freePort, startRedis } from "../redis-process.ts";
import { backendOn, SECRET } from "../world.ts";
import { type Guest, invite, type Room, silentGaps, TRANSPORTS } from "./guest.ts";
import { startNginx } from "./nginx.ts";

const GUESTS = 12;

/*
 * Two servers on one Redis behind a real nginx are restarted one after the other, as a deployment does it, while numbers
 * are published and pages push. phoenix.js with its own timing: pages may see a rejoin and nothing else.
 */
for (const transport of TRANSPORTS) {
  test(`a rolling restart behind nginx costs pages a rejoin and nothing else, over ${transport}`, async () => {
    const redis = await startRedis();
    const ports = [freePort(), freePort()];
    const toml = [
      `jwt_secret = "${SECRET}"\ntrusted_proxies = ["127.0.0.1"]\nshutdown_grace = "300ms"\ndrain_delay = "200ms"`,
      `[channels."*"]\npresence = false\n`,
    ].join("\n");
    const start = (port: number): Promise<ChannelProcess> =>
      startChannel({ args: ["--port", String(port), "--bus", "redis", "--redis-url", redis.url], toml });
    const servers = await Promise.all(ports.map(start));
    const nginx = await startNginx(ports);
    const backend = backendOn(redis.port);
    const guests: Guest[] = [];
    let publishing = true;
    let n = 0;
    try {
      const rooms: Room[] = [];
      for (let i = 0; i < GUESTS; i++) {
        const guest = invite(nginx.url, transport, { rejoinAfterMs: () => 20 });
        guests.push(guest);
        rooms.push(guest.room("rolling", { token: mint({ id: `user ${i}`, channel: "rolling" }, SECRET) }));
      }
      for (const room of rooms) expect(await room.events.next()).toBe("ok");
      const publisher = (async () => {
        while (publishing) {
          await backend.publish("to:rolling:n", String(++n));
          await Bun.sleep(5);
        }
      })();

      for (const [i, port] of ports.entries()) {
        expect(await servers[i]?.stop()).toBe(0);
        servers[i] = await start(port);
        await eventually(
          async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status === 200,
          "the server again",
        );
        // Its clients are back, over the other server or the new one: all of them send and receive.
        const since = n;
        await Promise.all(
          rooms.map(async (room) => {
            await room.messages.until((message) => Number(message) > since, "what is published now");
            expect(await room.push("said", {})).toBe("ok");
          }),
        );
      }
      publishing = false;
      await publisher;
      for (const [i, room] of rooms.entries()) {
        await eventually(() => room.messages.all.at(-1) === n, "the last number");
        const story = room.story.filter((each) => typeof each === "string");
        // Errors and rejoins alternate, of each at most one for each server that it was on.
        expect([i, silentGaps(room.story)]).toEqual([i, []]);
        expect(story.filter((each) => each === "ok").length).toBeLessThanOrEqual(3);
        expect(
          story.filter((each) => each !== "ok" && !/^error connection_(closed|error)$/.test(each)),
        ).toEqual([]);
        // Nothing came twice.
        const numbers = room.messages.all.map(Number);
        expect(new Set(numbers).size).toBe(numbers.length);
      }
      expect(
        rooms.some(({ story }) => story.length > 20 && story.filter((each) => each === "ok").length > 1),
      ).toBe(true);
      for (const guest of guests) {
        expect(guest.events.all.filter((each) => each === "open").length).toBeLessThanOrEqual(4);
      }
    } finally {
      publishing = false;
      for (const guest of guests) guest.leave();
      backend.stop();
      await nginx.stop();
      await Promise.all(servers.map((server) => server.stop()));
      await redis.stop();
    }
  }, 40_000);
}
