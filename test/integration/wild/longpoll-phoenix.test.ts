import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../phoenix-client.ts";
import { BUSES, startWorld, type World } from "../world.ts";
import { type Gate, startGate } from "./gate.ts";
import { type Guest, invite, present, silentGaps } from "./guest.ts";
import { startLine } from "./line.ts";
import { metric } from "./poller.ts";

for (const bus of BUSES) {
  describe.concurrent(`phoenix.js that polls, on ${bus}`, () => {
    let world: World;
    const guests: Guest[] = [];
    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: `presence_window = "10ms"\n[limits]\nframes_per_second = 1000\n`,
      });
    });
    afterAll(async () => {
      for (const guest of guests) guest.leave();
      await world.stop();
    });

    const polls = (url: string, options = {}): Guest => {
      const guest = invite(url, "longpoll", options);
      guests.push(guest);
      return guest;
    };

    test("joins, pushes, receives, sees the presence of others, and leaves", async () => {
      const topic = "whole";
      const inbox = await world.backend.listen(`from:${topic}:*`);
      const one = polls(world.channel.url).room(topic, {
        token: world.token(topic, { id: "one" }),
      });
      const two = polls(world.channel.url).room(topic, {
        token: world.token(topic, { id: "two" }),
      });
      expect(await Promise.all([one, two].map((each) => each.events.next()))).toEqual(["ok", "ok"]);
      await eventually(() => Object.keys(present(one)).length === 2, "both present");
      expect(await one.push("said", { a: [1, "é"] })).toBe("ok");
      const said = await inbox.until(({ name }) => name.endsWith(":said"));
      expect(said.payload.toString()).toBe('{"a":[1,"é"]}');
      for (let i = 0; i < 300; i++) void world.backend.publish(`to:${topic}:n`, `{"i":${i}}`);
      for (const each of [one, two]) {
        for (let i = 0; i < 300; i++) expect(await each.messages.next()).toEqual({ i });
      }
      two.channel.leave();
      await eventually(() => Object.keys(present(one)).join() === "one", "one alone");
      expect(await two.events.until((event) => event === "closed")).toBe("closed");
    });

    test("sends its backlog of 250 pushes in order when it connects", async () => {
      const topic = "backlog";
      const inbox = await world.backend.listen(`from:${topic}:n`);
      const gate = startGate("http://127.0.0.1:1");
      const guest = polls(gate.url);
      const room = guest.room(topic, { token: world.token(topic) });
      // phoenix.js keeps pushes while it joins. It joins when the server is reachable.
      const pushed = Array.from({ length: 250 }, (_, i) => room.push("n", { i }, 20_000));
      await guest.events.until((event) => event.startsWith("close"));
      gate.aim(world.channel.url);
      expect(new Set(await Promise.all(pushed))).toEqual(new Set(["ok"]));
      for (let i = 0; i < 250; i++) expect((await inbox.next()).payload.toString()).toBe(`{"i":${i}}`);
      await gate.stop();
    });

    test("pushes bytes", async () => {
      const inbox = await world.backend.listen("from:bytes:raw");
      const room = polls(world.channel.url).room("bytes", { token: world.token("bytes") });
      await room.events.next();
      const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i & 255);
      expect(await room.push("raw", bytes.buffer)).toBe("ok");
      expect((await inbox.next()).payload.equals(Buffer.from(bytes))).toBe(true);
    });

    test("joins with a token of its params, and with authToken", async () => {
      const token = world.token("own");
      for (const options of [
        { params: { token } },
        { params: () => ({ userToken: token }) },
        { authToken: () => token },
      ]) {
        const room = polls(world.channel.url, options).room("own");
        expect(await room.events.next()).toBe("ok");
        expect(await room.push("hello", {})).toBe("ok");
      }
    });

    const failures: Readonly<Record<string, () => Response>> = {
      429: () => new Response("<h1>Too Many Requests</h1>", { status: 429 }),
      500: () => new Response("Internal Server Error", { status: 500 }),
      "502 with a page": () => new Response("<h1>Bad Gateway</h1>", { status: 502 }),
      "413 with nothing": () => new Response(null, { status: 413 }),
      "our own 500": () => Response.json({ status: 500 }),
      "our own 410": () => Response.json({ status: 410, token: "x", messages: [] }),
    };
    for (const [what, answer] of Object.entries(failures)) {
      for (const [method, nth] of [
        ["GET", 1],
        ["GET", 2],
        ["GET", 3],
        ["POST", 1],
        ["POST", 2],
      ] as const) {
        test(`survives ${what} to ${method} number ${nth}`, async () => {
          const topic = `once:${what}:${method}:${nth}`;
          const gate: Gate = startGate(world.channel.url);
          gate.fail(method, nth, answer);
          const guest = polls(gate.url, { rejoinAfterMs: () => 20 });
          const room = guest.room(topic, { token: world.token(topic) });
          await room.events.until((event) => event === "ok");
          // phoenix.js notices each loss and joins again.
          await eventually(async () => (await room.push("hello", {}, 1000)) === "ok", "a push that arrives");
          await world.backend.publish(`to:${topic}:n`, "1");
          await eventually(async () => {
            await world.backend.publish(`to:${topic}:n`, "1");
            return room.messages.all.length > 0;
          }, "a broadcast that arrives");
          expect(gate.requests.length).toBeLessThan(60);
          guest.leave();
          await gate.stop();
        });
      }
    }

    test("connections that break often lose no message without notice to the page", async () => {
      const line = await startLine(world.channel.port);
      const guest = polls(line.url, { rejoinAfterMs: () => 20 });
      const room = guest.room("broken", { token: world.token("broken") });
      await room.events.until((event) => event === "ok");
      let n = 0;
      for (let cuts = 0; cuts < 25; cuts++) {
        for (let i = 0; i < 8; i++) {
          await world.backend.publish("to:broken:n", `${++n}`);
          await Bun.sleep(2);
        }
        line.cut();
      }
      const last = n;
      await eventually(async () => {
        await world.backend.publish("to:broken:n", `${++n}`);
        // On a busy machine few arrive between two cuts.
        return Number(room.messages.all.at(-1)) > last && room.messages.all.length > 50;
      }, "messages behind the last cut");
      expect(silentGaps(room.story)).toEqual([]);
      line.stop();
    });

    test("sessions over the rate of an address are refused before they open, and connect as fast as the rate allows", async () => {
      const strict = await startWorld(bus, {
        toml: `trusted_proxies = ["127.0.0.1"]\n[limits]\nconnects_per_second_per_ip = 2\n`,
      });
      const gate = startGate(strict.channel.url, { "x-forwarded-for": "192.0.2.77" });
      try {
        const rooms = Array.from({ length: 24 }, () =>
          polls(gate.url).room("rush", { token: strict.token("rush") }),
        );
        for (const room of rooms) await room.events.until((event) => event === "ok", "its join");
        // 20 connect at once, 4 wait: with the back-off of phoenix.js, not in a loop without one.
        const begun = gate.requests.filter(({ token, method }) => method === "GET" && !token).length;
        expect(begun).toBeLessThan(24 + 4 * 15);
        expect(await metric(strict.channel.url, 'channel_refused_total{reason="http_429"}')).toBeGreaterThan(
          3,
        );
      } finally {
        await strict.stop();
        await gate.stop();
      }
    }, 20_000);
  });
}
