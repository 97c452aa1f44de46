import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { call } from "../api-client.ts";
import { startWorld, type World } from "../world.ts";
import { enterGroups } from "./groups-client.ts";

/*
 * That group sockets are held to the same rules as Phoenix' by the same parts: budget of frames, sign of life, slow
 * clients, tokens that run out, the end of the server.
 */

/** Some of these send many megabytes, and the others wait for that. */
setDefaultTimeout(120_000);

/** A row of `GET /api/connections`. */
interface Row {
  readonly protocol: string;
  readonly users: readonly string[];
  readonly channels: readonly string[];
}

async function inWorld(toml: string, run: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld("embedded", { toml });
  try {
    await run(world);
  } finally {
    await world.stop();
  }
}

async function metric(world: World, line: string): Promise<number> {
  const text = await (await fetch(`${world.channel.url}/metrics`)).text();
  const found = text.split("\n").find((each) => each.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1) ?? 0);
}

const enter = (world: World, claims = {}) => enterGroups(world.channel.url, world.token("*", claims));

describe.concurrent("a group client", () => {
  test("that sends more frames than it may is answered so, changes nothing, and recovers", () =>
    inWorld("[limits]\nframes_per_second = 10\n", async (world) => {
      const client = await enter(world);
      const calm = await enter(world);
      const count = 150;
      const began = performance.now();
      for (let i = 0; i < count; i++) client.send({ groups: { jobs: [i] } });
      const answers: unknown[] = [];
      for (let i = 0; i < count; i++) answers.push(await client.next());
      const refused = answers.filter((each) => "error" in Object(each));
      // A burst of 100, and ten more for each second that it took.
      const most = 100 + 10 * Math.ceil((performance.now() - began) / 1000);
      expect(count - refused.length).toBeWithin(100, most + 1);
      expect(new Set(refused.map((each) => Object(each).error))).toEqual(new Set(["rate limited"]));
      expect(await metric(world, 'channel_refused_total{reason="rate_limited"}')).toBe(refused.length);
      expect((await calm.follow({ jobs: [1] })).current).toEqual(["jobs-1"]);
      await Bun.sleep(400);
      expect((await client.follow({ jobs: ["later"] })).joined).toEqual(["jobs-later"]);
    }));

  test("too slow to read is cut off without a hole in what it got, and others miss nothing", () =>
    inWorld('[limits]\nmax_payload = "64KiB"\nmax_buffered_per_client = "256KiB"\n', async (world) => {
      const quick = await enter(world);
      const slow = await enter(world);
      for (const client of [quick, slow]) await client.follow({ jobs: ["n"] });
      slow.socket.pause();
      const count = 400;
      const fill = "x".repeat(60_000);
      for (let i = 0; i < count; i++) await world.backend.publish("to:jobs:n", JSON.stringify({ i, fill }));
      const got = async (texts: readonly string[]) =>
        texts.filter((t) => t.startsWith('{"i"')).map((t) => JSON.parse(t).i);
      await quick.texts.until((text) => text.startsWith(`{"i":${count - 1},`), "the last one");
      expect(await got(quick.texts.all)).toEqual(Array.from({ length: count }, (_, i) => i));
      while ((await metric(world, 'channel_connections{protocol="groups"}')) > 1) await Bun.sleep(20);
      slow.socket.resume();
      expect((await slow.socket.closed).code).toBe(1006);
      const numbers = await got(slow.texts.all);
      expect(numbers.length).toBeLessThan(count);
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => i));
      expect(await metric(world, 'channel_listeners{protocol="groups"}')).toBe(1);
      expect(world.channel.lines.filter((each) => each.level === "error")).toEqual([]);
    }));

  test("that does not read its own answers is cut off, too, and leaves nothing behind", () =>
    inWorld(
      '[limits]\nmax_payload = "64KiB"\nmax_buffered_per_client = "256KiB"\nframes_per_second = 100000\n',
      async (world) => {
        const client = await enter(world);
        client.socket.pause();
        const entries = Array.from({ length: 999 }, (_, i) => `${"e".repeat(200)}${i}`);
        const denied = Array.from({ length: 1 }, () => "x:y");
        for (let i = 0; i < 60 && !client.socket.isClosed; i++) {
          client.send({ groups: { jobs: [...denied, ...entries.map((entry) => `${entry}-${i}`)] } });
        }
        const began = performance.now();
        while ((await metric(world, 'channel_connections{protocol="groups"}')) > 0) {
          expect(performance.now() - began).toBeLessThan(20_000);
          await Bun.sleep(20);
        }
        expect(await metric(world, 'channel_listeners{protocol="groups"}')).toBe(0);
        expect(await metric(world, "channel_channels")).toBe(3);
        client.socket.cut();
        expect(world.channel.lines.filter((each) => each.level === "error")).toEqual([]);
      },
    ));

  test('whose token runs out stays with expiry = "join"', () =>
    inWorld('expiry = "join"\n', async (world) => {
      // With the leeway eight seconds, for a process that all other tests here keep busy.
      const exp = Math.floor(Date.now() / 1000) + 3;
      const client = await enter(world, { exp });
      await client.follow({ jobs: ["n"] });
      await Bun.sleep((exp + 5) * 1000 - Date.now() + 800);
      await world.backend.publish("to:jobs:n", "1");
      expect(await client.next()).toBe(1);
      expect((await client.follow({ jobs: ["m"] })).current).toEqual(["jobs-m"]);
    }));

  test("whose frame is over the limit is closed with 1009", () =>
    inWorld('[limits]\nmax_frame = "4KiB"\n', async (world) => {
      const client = await enter(world);
      client.send({ groups: { jobs: ["x".repeat(4096)] } });
      expect((await client.socket.closed).code).toBe(1009);
    }));

  test("is closed with 1012 at once when the server restarts, as Phoenix sockets are", async () => {
    const world = await startWorld("embedded");
    try {
      const clients = await Promise.all([1, 2, 3].map(() => enter(world)));
      for (const client of clients.slice(1)) await client.follow({ jobs: ["n"] });
      const turnedAway = await enterGroups(world.channel.url, "none").catch((error: unknown) =>
        String(error),
      );
      expect(turnedAway).toContain("not accepted");
      const page = await world.connect();
      await page.join("jobs", { token: world.token("jobs") });
      const code = world.channel.stop();
      for (const { socket } of [...clients, page]) {
        expect(await socket.closed).toEqual({ code: 1012, reason: "server restarting" });
      }
      expect(await code).toBe(0);
    } finally {
      await world.stop();
    }
  });

  test("stands in the list of connections, is ended by an administrator, and does not come back while banned", () =>
    inWorld("", async (world) => {
      const { url } = world.channel;
      const [byOne, byUser] = [await enter(world, { id: "ann" }), await enter(world, { id: "bob" })];
      for (const client of [byOne, byUser]) await client.follow({ jobs: ["n"], job_events: [1, 2] });
      const { body } = await call(url, "/api/connections");
      expect(body.connections.map(({ protocol, channels }: Row) => ({ protocol, channels }))).toEqual([
        { protocol: "groups", channels: ["jobs", "job_events"] },
        { protocol: "groups", channels: ["jobs", "job_events"] },
      ]);
      const ann = body.connections.find(({ users }: Row) => users.includes("ann"));
      expect((await call(url, `/api/connections/${ann.id}`, { method: "DELETE" })).status).toBe(200);
      const answer = await call(url, "/api/disconnect", { body: { id: "bob", ban: "1m" } });
      expect(answer.body.disconnected).toBe(1);
      // Both subscriptions end at once, and both sockets are closed later.
      expect(await metric(world, 'channel_listeners{protocol="groups"}')).toBe(0);
      expect(await enter(world, { id: "bob" }).catch((error: unknown) => String(error))).toContain(
        '"close":true',
      );
      for (const { socket } of [byOne, byUser]) expect((await socket.closed).code).toBe(1001);
      expect((await (await enter(world, { id: "ann" })).follow({ jobs: ["n"] })).joined).toEqual(["jobs-n"]);
    }));

  test("counts in max_connections like every client", () =>
    inWorld("[limits]\nmax_connections = 2\n", async (world) => {
      await enter(world);
      await world.connect();
      expect(await enter(world).catch((error: unknown) => String(error))).toContain("503");
    }));
});

// One after the other: these wait for times, and what the others send keeps this process busy for seconds.
describe("a group client", () => {
  test("stays while it answers pings, whether or not it follows anything, and no longer", () =>
    inWorld('[limits]\nidle_timeout = "3s"\n', async (world) => {
      const [silent, left, follower] = await Promise.all([1, 2, 3].map(() => enter(world)));
      if (silent === undefined || left === undefined || follower === undefined) return;
      await follower.follow({ jobs: ["summary"] });
      await left.follow({ jobs: ["summary"] });
      await left.follow({});
      // Each is asked after half of idle_timeout: four times is twice idle_timeout.
      for (let i = 0; i < 4; i++) {
        for (const client of [silent, left, follower]) await client.socket.pings.next();
      }
      await world.backend.publish("to:jobs:summary", "1");
      expect(await follower.next()).toBe(1);
      for (const client of [silent, left]) {
        expect((await client.follow({ jobs: ["later"] })).joined).toEqual(["jobs-later"]);
        client.socket.cut();
      }
      follower.socket.answerPings(false);
      const timerOfNews = setInterval(() => world.backend.publish("to:jobs:summary", "2"), 100);
      expect((await follower.socket.closed).code).toBe(1006);
      clearInterval(timerOfNews);
      expect(await metric(world, 'channel_disconnects_total{reason="silent"}')).toBe(1);
    }));

  test("whose token runs out is closed with 1001 at once, and has missed nothing until then", () =>
    inWorld("", async (world) => {
      // Five seconds of leeway, within which a busy machine lets it in.
      const exp = Math.floor(Date.now() / 1000);
      const client = await enter(world, { exp });
      const lasting = await enter(world);
      for (const each of [client, lasting]) await each.follow({ jobs: ["n"] });
      let sent = 0;
      while (!client.socket.isClosed) {
        await world.backend.publish("to:jobs:n", String(++sent));
        // Whoever lasts has it: another has it too, or is being closed just now.
        await lasting.texts.until((text) => text === String(sent));
        await Bun.sleep(5);
      }
      expect(await client.socket.closed).toEqual({ code: 1001, reason: "token expired" });
      expect(Date.now()).toBeGreaterThanOrEqual((exp + 5) * 1000);
      const got = client.texts.all.filter((text) => /^\d+$/.test(text)).map(Number);
      expect(got).toEqual(Array.from({ length: got.length }, (_, i) => i + 1));
      // What was sent while the close was on its way: a few, not those of seconds.
      expect(sent - got.length).toBeLessThan(100);
    }));
});
