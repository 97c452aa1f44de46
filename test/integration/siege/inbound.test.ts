import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { enterGroups } from "../groups/groups-client.ts";
import { eventually } from "../phoenix-client.ts";
import { openRawHttp, type RawHttp } from "../raw-http.ts";
import { addressOf, ask, metric, startPoller } from "../wild/poller.ts";
import { RETURNS_MEMORY, startWorld, type World } from "../world.ts";

const MIB = 1024 * 1024;

async function withWorld(toml: string, run: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld("embedded", { toml, env: RETURNS_MEMORY });
  try {
    await run(world);
  } finally {
    await world.stop();
  }
}

/** Peak memory of the server, in MiB. */
function peak(world: World): number {
  const status = readFileSync(`/proc/${world.channel.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

describe.concurrent("clients without a token", () => {
  test.each(["websocket", "longpoll"] as const)(
    "answers a join of the topic phoenix and publishes nothing, %s",
    async (transport) =>
      withWorld("", async (world) => {
        const inbox = await world.backend.listen("from:*");
        const client = await world.connect({ transport });
        const joined = await client.join("phoenix", { payload: "p".repeat(5000) });
        expect([joined.status, Object.keys(Object(joined.response))]).toEqual(["ok", ["id"]]);
        expect(
          (await client.ask({ topic: "phoenix", event: "phx_leave", payload: '{"payload":"p"}' })).status,
        ).toBe("ok");
        expect(
          (await client.ask({ topic: "phoenix", event: "said", payload: '{"payload":"p"}' })).status,
        ).toBe("error");
        // Earlier frames were published earlier.
        await client.fence();
        await inbox.until(({ name }) => name === "from:phoenix:heartbeat");
        expect(inbox.all.map(({ name }) => name)).toEqual(["from:phoenix:heartbeat"]);
        expect(inbox.all[0]?.payload.toString()).toMatch(/^\{"conn_id":"\w+"\}$/);
      }),
  );
});

describe.concurrent("bytes_per_second", () => {
  /** A burst of 40 KiB. */
  const TOML = '[limits]\nbytes_per_second = "4KiB"\nmax_frame = "20KiB"\n';
  const heartbeat = (ref: string, size: number): string =>
    `[null,"${ref}","phoenix","heartbeat",{"fill":"${"f".repeat(size)}"}]`;

  test("a socket may send its burst, and is closed with 1008 beyond it, before parsing", async () =>
    withWorld(TOML, async (world) => {
      const client = await world.connect();
      client.sendText(heartbeat("a", 18_000));
      client.sendText(heartbeat("b", 18_000));
      expect((await client.reply("b")).status).toBe("ok");
      client.sendText("f".repeat(18_000));
      client.sendText(heartbeat("c", 10));
      expect(await client.socket.closed).toMatchObject({ code: 1008, reason: "too many bytes" });
      // Neither the malformed frame nor the heartbeat was handled.
      expect(client.frames.all.filter(({ event, ref }) => event === "phx_error" || ref === "c")).toEqual([]);
      expect(await metric(world.channel.url, 'channel_disconnects_total{reason="too_many_bytes"}')).toBe(1);
    }));

  test(
    "counts bytes and not characters, in every protocol; a slow sender is never limited",
    async () =>
      withWorld(TOML, async (world) => {
        const wide = await world.connect();
        wide.sendText(`[null,"a","phoenix","heartbeat",{"fill":"${"€".repeat(6_000)}"}]`);
        expect((await wide.reply("a")).status).toBe("ok");
        // Two are too many; a busy machine may take seconds for them.
        for (let i = 0; i < 10; i++)
          wide.sendText(`[null,"b","phoenix","heartbeat",{"fill":"${"€".repeat(6_000)}"}]`);
        expect((await wide.socket.closed).code).toBe(1008);
        const groups = await enterGroups(world.channel.url, world.token("quiet"));
        for (let i = 0; i < 12; i++) groups.sendText("f".repeat(15_000));
        expect((await groups.socket.closed).code).toBe(1008);
        const slow = await world.connect();
        for (let i = 0; i < 10; i++) {
          slow.sendText(heartbeat(String(i), 5_000));
          expect((await slow.reply(String(i))).status).toBe("ok");
          await Bun.sleep(i < 6 ? 0 : 1250);
        }
        expect(slow.socket.isClosed).toBe(false);
      }),
    40_000,
  );

  test("clients of one address share a budget: reconnecting gains nothing, other addresses and loopback are not limited", async () =>
    withWorld(
      'trusted_proxies = ["127.0.0.1"]\n[limits]\nbytes_per_second = "2KiB"\nbytes_per_second_per_ip = "1KiB"\nmax_frame = "20KiB"\n',
      async (world) => {
        const from = (address: string) => ({ headers: { "x-forwarded-for": address } });
        const passes = async (address: string): Promise<boolean> => {
          const client = await world.connect(from(address));
          client.sendText(heartbeat("a", 18_000));
          const over = await Promise.race([client.socket.closed, client.reply("a")]);
          client.socket.cut();
          return "status" in over;
        };
        expect(await passes("192.0.2.50")).toBe(true);
        const again = await world.connect(from("192.0.2.50"));
        again.sendText(heartbeat("a", 18_000));
        expect(await again.socket.closed).toMatchObject({ code: 1008, reason: "too many bytes" });
        const poller = await startPoller(world.channel.url, from("192.0.2.50"));
        expect(await poller.post(heartbeat("b", 18_000))).toMatchObject({ http: 200, status: 500 });
        // Small messages still pass.
        const small = await world.connect(from("192.0.2.50"));
        small.sendText(heartbeat("a", 10));
        expect((await small.reply("a")).status).toBe("ok");
        expect(await passes("192.0.2.51")).toBe(true);
        for (let i = 0; i < 3; i++) expect(await passes("127.0.0.1")).toBe(true);
      },
    ));

  test("a client that sends while it is being closed is not read", async () =>
    withWorld('[limits]\nbytes_per_second = "100KiB"\n', async (world) => {
      const flood = await world.connect();
      const megabyte = "f".repeat(MIB - 100);
      const received = () => metric(world.channel.url, 'channel_disconnects_total{reason="too_many_bytes"}');
      for (let i = 0; i < 3; i++) flood.sendText(megabyte);
      await eventually(async () => (await received()) === 1, "dismissed");
      const before = peak(world);
      for (let i = 0; i < 60; i++) flood.sendText(megabyte);
      expect((await flood.socket.closed).code).toBe(1008);
      expect(peak(world) - before).toBeLessThan(20);
    }));

  test.each(["announced", "streamed"])(
    "answers a poll over the limit with 500 and ends its session, %s",
    async (how) =>
      withWorld(TOML, async (world) => {
        const poller = await startPoller(world.channel.url);
        const send = (body: string) =>
          how === "announced"
            ? poller.post(body)
            : ask(addressOf(world.channel.url, {}, poller.token), {
                method: "POST",
                headers: { "content-type": "application/x-ndjson" },
                body: new Response(body).body,
              });
        expect((await send(heartbeat("a", 18_000))).status).toBe(200);
        expect((await send(heartbeat("b", 18_000))).status).toBe(200);
        expect(await send(heartbeat("c", 18_000))).toMatchObject({ http: 200, status: 500 });
        const { messages } = await poller.poll();
        expect(messages).toHaveLength(2);
        await eventually(
          async () => (await poller.post(heartbeat("d", 1))).status === 410,
          "its end",
          20_000,
        );
      }),
    40_000,
  );
});

describe("event groups", () => {
  test(
    "charges a frame by its changes: ten entries cost as much as one frame",
    async () =>
      withWorld("", async (world) => {
        const groups = await enterGroups(world.channel.url, world.token("quiet"));
        const entries = (from: number) => Array.from({ length: 1000 }, (_, i) => from + i);
        expect((await groups.follow({ quiet: entries(0) })).joined).toHaveLength(1000);
        // Subscriptions that stay are free.
        for (let i = 0; i < 500; i++) groups.send({ groups: { quiet: entries(0) } });
        const kept = await groups.fence();
        expect(kept.filter((each) => "error" in Object(each))).toEqual([]);

        const start = performance.now();
        for (let i = 1; i <= 100; i++) groups.send({ groups: { quiet: entries(1000 * i) } });
        const answers = await groups.fence();
        // Each swap costs 201 frames of a burst of 2000, and of 200 a second.
        const most = 10 + Math.ceil((performance.now() - start) / 1000);
        const isSwap = (answer: unknown) => "groups_left" in Object(answer);
        expect(answers.filter(isSwap).length).toBeWithin(5, most + 1);
        const refused = answers.filter((each) => !isSwap(each));
        expect(refused).toEqual(Array.from({ length: refused.length }, () => ({ error: "rate limited" })));
        const last = answers.findLastIndex(isSwap) + 1;
        // It keeps its subscriptions, and may change them once its rate has recovered.
        await world.backend.publish(`to:quiet:${1000 * last}`, "7");
        expect(await groups.next()).toBe(7);
        await eventually(
          async () => {
            groups.send({ groups: { quiet: [1999] } });
            return "groups_left" in Object(await groups.next());
          },
          "its budget",
          10_000,
        );
      }),
    20_000,
  );

  test("refused entries are charged too", async () =>
    withWorld("[limits]\nframes_per_second = 5\n", async (world) => {
      const groups = await enterGroups(world.channel.url, world.token("quiet"));
      groups.send({ groups: { loud: Array.from({ length: 1000 }, (_, i) => i) } });
      groups.send({ groups: { quiet: [1] } });
      const answers = await groups.fence();
      expect(answers).toHaveLength(1002);
      expect(answers.at(-1)).toEqual({ error: "rate limited" });
    }));
});

describe("bodies", () => {
  /** The attack as found: each body is larger than a poll session may send. */
  const SIZE = Math.floor(16.9 * MIB);

  test.each(["announced", "chunked"] as const)(
    "40 POSTs of 16.9 MiB to one anonymous poll session use little memory, %s",
    async (how) =>
      withWorld("", async (world) => {
        const poller = await startPoller(world.channel.url);
        expect((await poller.post('[null,"1","phoenix","heartbeat",{}]')).status).toBe(200);
        const before = peak(world);
        const path = `/longpoll?vsn=2.0.0&token=${encodeURIComponent(poller.token)}`;
        const answers = await Promise.all(Array.from({ length: 40 }, () => flood(world, path, how)));
        expect(new Set(answers.map((body) => Number(JSON.parse(body).status)))).toEqual(new Set([500]));
        expect(peak(world) - before).toBeLessThan(80);
        expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
        expect(await metric(world.channel.url, "channel_inbound_bytes")).toBe(0);
      }),
    30_000,
  );

  async function flood(world: World, path: string, how: "announced" | "chunked"): Promise<string> {
    const http = await openRawHttp(world.channel.port);
    const length = how === "announced" ? `Content-Length: ${SIZE}` : "Transfer-Encoding: chunked";
    http.write(
      `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n${length}\r\n\r\n`,
    );
    const part = Buffer.alloc(64 * 1024, "[");
    const written =
      how === "announced" ? part : Buffer.concat([Buffer.from("10000\r\n"), part, Buffer.from("\r\n")]);
    let answered = false;
    const answer = http.answer().then((it) => {
      answered = true;
      return it.body;
    });
    for (let sent = 0; sent < SIZE && !answered; sent += part.length) {
      if (http.socket.write(written)) continue;
      await Promise.race([new Promise((resolve) => http.socket.once("drain", resolve)), answer, http.closed]);
    }
    const body = await answer;
    http.cut();
    return body;
  }

  async function half(world: World, path: string, announced: number, sent: number): Promise<RawHttp> {
    const http = await openRawHttp(world.channel.port);
    http.write(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${announced}\r\n\r\n`);
    http.write(Buffer.alloc(sent, "["));
    return http;
  }

  test("a body must be complete within frame_timeout, even if it keeps arriving", async () =>
    withWorld("[limits]\nframe_timeout = 1\n", async (world) => {
      const poller = await startPoller(world.channel.url);
      expect((await poller.post('[null,"1","phoenix","heartbeat",{}]')).status).toBe(200);
      const path = `/longpoll?vsn=2.0.0&token=${encodeURIComponent(poller.token)}`;
      const asked = [
        await half(world, "/token", 1000, 10),
        await half(world, "/token", 500_000, 100_000),
        await half(world, path, 1000, 10),
        await half(world, path, 100_000, 20_000),
      ];
      const drip = setInterval(() => {
        for (const { write } of asked) write("[");
      }, 100);
      const [small, large, poll, largePoll] = await Promise.all(asked.map((http) => http.answer()));
      clearInterval(drip);
      expect([small?.status, large?.status]).toEqual([408, 408]);
      expect(JSON.parse(small?.body ?? "")).toEqual({
        code: "body_too_slow",
        error: expect.stringContaining("limits.frame_timeout"),
      });
      expect([poll?.status, largePoll?.status]).toEqual([200, 200]);
      expect([poll, largePoll].map((each) => JSON.parse(each?.body ?? ""))).toEqual([
        { status: 500 },
        { status: 500 },
      ]);
      // The server does not wait for the rest.
      await Promise.all([asked[0]?.closed, asked[1]?.closed]);
      for (const each of asked) each.cut();
      expect(await metric(world.channel.url, "channel_inbound_bytes")).toBe(0);
    }));

  test("max_inbound: the largest unfinished body is refused with 503, and small ones are not", async () =>
    withWorld(
      '[limits]\nmax_inbound = "800KiB"\nmax_body = "300KiB"\nmax_frame = "64KiB"\nmax_payload = "64KiB"\n',
      async (world) => {
        const unfinished = () => metric(world.channel.url, "channel_inbound_bytes");
        const smaller = await half(world, "/token", 300_000, 240_000);
        const largest = await half(world, "/token", 300_000, 280_000);
        const third = await half(world, "/token", 300_000, 250_000);
        await eventually(async () => (await unfinished()) === 770_000, "all read");
        const last = await half(world, "/token", 300_000, 60_000);
        const refused = await largest.answer();
        expect(refused.status).toBe(503);
        expect(JSON.parse(refused.body)).toEqual({
          code: "too_much_inbound",
          error: expect.stringContaining("limits.max_inbound"),
        });
        await eventually(async () => (await unfinished()) === 550_000, "the rest kept");
        const token = await fetch(`${world.channel.url}/token`, {
          method: "POST",
          body: '{"channel":"room"}',
        });
        expect(token.status).toBe(200);
        last.write(Buffer.alloc(240_000, "["));
        expect((await last.answer()).status).toBe(400);
        for (const each of [smaller, largest, third, last]) each.cut();
        await eventually(async () => (await unfinished()) === 0, "nothing kept of who is gone");
      },
    ));
});
