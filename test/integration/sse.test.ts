import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { eventually, mint } from "./phoenix-client.ts";
import { listenSse, openSse } from "./sse-client.ts";
import { BUSES, SECRET, startWorld, type World } from "./world.ts";

const PUBLIC = `token_channels = ["open:*", "system"]\npresence_window = "10ms"\n`;

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

for (const bus of BUSES) {
  describe(`server-sent events on the ${bus} bus`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: `${PUBLIC}allowed_origins = ["https://app.example"]\n[limits]\nmax_channels = 3\n`,
      });
    });
    afterAll(() => world.stop());

    const port = () => world.channel.port;
    const jwt = (channels: readonly string[], claims: object = {}) =>
      mint({ id: "alice", exp: inSeconds(3600), channels, ...claims }, SECRET);
    const rowOf = async (search: string) =>
      (await call(world.channel.url, `/api/connections?protocol=sse&search=${search}`)).body.connections[0];
    const refusal = async (path: string, headers: Readonly<Record<string, string>> = {}) => {
      const response = await fetch(world.channel.url + path, { headers });
      return { status: response.status, body: await response.json() };
    };

    test("a stream begins with ready, and gets what is published on its channels in order", async () => {
      const reader = openSse(port(), "/sse?channel=open:a&channel=open:b&channel=open:a");
      const head = await reader.head;
      expect(head).toContain("content-type: text/event-stream");
      expect(head).toContain("cache-control: no-store");
      expect(head).toContain("x-accel-buffering: no");
      const ready = await reader.events.next();
      expect(ready).toMatchObject({ event: "ready", id: "" });
      expect(JSON.parse(ready.data)).toEqual({
        id: expect.stringMatching(/^\w+$/),
        channels: ["open:a", "open:b"],
      });
      for (let n = 0; n < 20; n++) await world.backend.publish(`to:open:${n % 2 ? "a" : "b"}:e`, `${n}`);
      for (let n = 0; n < 20; n++) {
        expect(await reader.message()).toEqual({
          channel: n % 2 ? "open:a" : "open:b",
          event: "e",
          payload: n,
        });
      }
      reader.cut();
    });

    test("a payload stands unchanged in the data but for its line ends, bytes as base64", async () => {
      const reader = await listenSse(port(), "/sse?channel=open:payloads");
      const texts = [
        `{"big":12345678901234567890,"é":"\u2028"}`,
        `[1,\n2,\r\n3,\r4]`,
        `\n\n"x"\n`,
        `"${"y".repeat(200_000)}"`,
      ];
      for (const text of texts) await world.backend.publish("to:open:payloads:e", text);
      await world.backend.publish("to:open:payloads:bytes", Buffer.from([0, 255, 10, 13]));
      for (const text of texts) {
        const { data } = await reader.events.next();
        expect(data).toBe(
          `{"channel":"open:payloads","event":"e","payload":${text.replaceAll(/\r\n?/g, "\n")}}`,
        );
      }
      expect(await reader.message()).toEqual({
        channel: "open:payloads",
        event: "bytes",
        base64: "AP8KDQ==",
      });
      reader.cut();
    });

    test("a token opens its channels, as Bearer or in the query", async () => {
      const token = jwt(["secret:*", "news"]);
      for (const reader of [
        openSse(port(), "/sse?channel=secret:1&channel=news", {
          headers: { authorization: `Bearer ${token}` },
        }),
        openSse(port(), `/sse?channel=secret:1&channel=news&token=${token}`),
      ]) {
        expect(await reader.status).toBe(200);
        await reader.events.until((each) => each.event === "ready");
        await world.backend.publish("to:secret:1:e", "1");
        expect(await reader.message()).toMatchObject({ channel: "secret:1", payload: 1 });
        reader.cut();
      }
    });

    test("a refusal for good is 401, 403 or 422 with the usual body", async () => {
      expect(await refusal("/sse?channel=secret")).toMatchObject({
        status: 401,
        body: { code: "token_missing" },
      });
      expect(await refusal("/sse?channel=admin")).toMatchObject({
        status: 401,
        body: { code: "token_missing" },
      });
      expect(await refusal("/sse?channel=open:a&token=x")).toMatchObject({
        status: 401,
        body: { code: "token_refused", error: "The token is not accepted." },
      });
      const old = jwt(["secret"], { exp: inSeconds(-3600) });
      expect(await refusal(`/sse?channel=secret&token=${old}`)).toMatchObject({
        status: 401,
        body: { code: "token_expired" },
      });
      expect(await refusal(`/sse?channel=secret&channel=other&token=${jwt(["secret"])}`)).toMatchObject({
        status: 403,
        body: { code: "channel_not_covered", error: 'The token does not cover the channel "other".' },
      });
      expect(await refusal(`/sse?channel=secret&token=${jwt(["secret"], { can: ["push"] })}`)).toMatchObject({
        status: 403,
        body: { code: "join_not_allowed" },
      });
      expect(await refusal("/sse")).toMatchObject({ status: 422, body: { code: "invalid_request" } });
      expect(await refusal("/sse?channel=a%00b")).toMatchObject({
        status: 422,
        body: { code: "invalid_request" },
      });
      expect(await refusal("/sse?channel=open:1&channel=open:2&channel=open:3&channel=open:4")).toMatchObject(
        {
          status: 422,
          body: { code: "too_many_channels_asked" },
        },
      );
      const post = await fetch(`${world.channel.url}/sse?channel=open:a`, { method: "POST" });
      expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, OPTIONS"]);
      const refused = await world.channel.log.until(
        ({ message, code }) => message === "join refused" && code === "channel_not_covered",
      );
      expect(refused).toMatchObject({ protocol: "sse", channel: "other", address: "127.0.0.1" });
      // No request above left a place or a listener.
      await eventually(async () => (await rowOf("")) === undefined, "no connection");
    });

    test("pages of allowed origins may read the stream and send headers, others are refused", async () => {
      const url = `${world.channel.url}/sse?channel=open:a`;
      const origin = "https://app.example";
      const asked = { origin, "access-control-request-headers": "authorization,last-event-id" };
      const preflight = await fetch(url, { method: "OPTIONS", headers: asked });
      expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
      expect(preflight.headers.get("access-control-allow-headers")).toBe("authorization,last-event-id");
      const stream = await fetch(url, { headers: { origin } });
      expect(stream.headers.get("access-control-allow-origin")).toBe(origin);
      await stream.body?.cancel();
      const foreign = await fetch(url, { headers: { origin: "https://evil.example" } });
      expect([foreign.status, (await foreign.json()).code]).toEqual([403, "origin_not_allowed"]);
      const host = await fetch(url, { headers: { host: "evil.example" } });
      expect([host.status, (await host.json()).code]).toEqual([403, "host_not_allowed"]);
      // The server notices the end of the stream later; the next test counts streams.
      await eventually(async () => (await rowOf("")) === undefined, "the end of the stream");
    });

    test("a listener is counted as sse, is no member, and in no presence", async () => {
      const client = await world.connect();
      await client.join("shared", { token: world.token("shared") });
      await client.event("presence_state");
      const reader = await listenSse(port(), `/sse?channel=shared&token=${jwt(["shared"])}`);
      const { body } = await call(world.channel.url, "/api/channels/shared");
      expect(body).toMatchObject({ members: 1, listeners: { phoenix: 1, sse: 1 } });
      expect(await rowOf("shared")).toMatchObject({
        protocol: "sse",
        address: "127.0.0.1",
        users: ["alice"],
        channels: ["shared"],
      });
      const metrics = (await call(world.channel.url, "/metrics")).body;
      expect(metrics).toContain('channel_connections{protocol="sse"} 1');
      expect(metrics).toContain('channel_listeners{protocol="sse"} 1');
      // Another join changes the presence: the member gets it, the listener does not.
      const other = await world.connect();
      await other.join("shared", { token: world.token("shared", { id: "bob" }) });
      await client.event("presence_diff");
      await world.backend.publish("to:shared:e", "1");
      expect(await reader.message()).toMatchObject({ event: "e" });
      expect(reader.text()).not.toContain("presence");
      reader.cut();
      await eventually(async () => (await rowOf("shared")) === undefined, "the end of the connection");
      expect((await call(world.channel.url, "/api/channels/shared")).body.listeners).toEqual({ phoenix: 2 });
    });

    test("a channel with no listener but this one opens and closes with it", async () => {
      const reader = await listenSse(port(), "/sse?channel=open:alone");
      expect((await call(world.channel.url, "/api/channels/open:alone")).status).toBe(200);
      reader.cut();
      await eventually(
        async () => (await call(world.channel.url, "/api/channels/open:alone")).status === 404,
        "a closed channel",
      );
    });

    test("an expired token, a disconnect and a revocation end the stream with closed and its reason", async () => {
      const short = await listenSse(port(), `/sse?channel=s&token=${jwt(["s"], { exp: inSeconds(1) })}`);
      const jti = `t-${bus}`;
      const revoked = await listenSse(port(), `/sse?channel=s&token=${jwt(["s"], { jti, id: "carol" })}`);
      const gone = await listenSse(port(), `/sse?channel=s&token=${jwt(["s"], { id: "dave" })}`);
      await call(world.channel.url, "/api/disconnect", { body: { id: "dave", ban: "10m" } });
      await call(world.channel.url, "/api/revocations", { body: { jti, expires_in: "1h" } });
      for (const [reader, reason] of [
        [short, "token expired"],
        [revoked, "token revoked"],
        [gone, "ended by an administrator"],
      ] as const) {
        const { data } = await reader.events.until((each) => each.event === "closed", "closed");
        expect(JSON.parse(data)).toEqual({ reason });
        expect(await reader.ended).toBe("complete");
      }
      expect(await refusal(`/sse?channel=s&token=${jwt(["s"], { id: "dave" })}`)).toMatchObject({
        status: 401,
      });
      expect(await refusal(`/sse?channel=s&token=${jwt(["s"], { jti })}`)).toMatchObject({ status: 401 });
      await call(world.channel.url, "/api/bans/dave", { method: "DELETE" });
    }, 30_000);

    test("a kick ends the subscription to that channel only", async () => {
      const token = jwt(["k1", "k2"], { id: "kim" });
      const reader = await listenSse(port(), `/sse?channel=k1&channel=k2&token=${token}`);
      const { body } = await call(world.channel.url, "/api/kick", { body: { channel: "k1", id: "kim" } });
      expect(body).toMatchObject({ kicked: 1 });
      const { data } = await reader.events.until((each) => each.event === "closed", "closed");
      expect(JSON.parse(data)).toEqual({ channel: "k1", reason: "ended by an administrator" });
      await world.backend.publish("to:k1:e", "1");
      await world.backend.publish("to:k2:e", "2");
      expect(await reader.message()).toMatchObject({ channel: "k2", payload: 2 });
      expect(
        (await call(world.channel.url, "/api/kick", { body: { channel: "k1", id: "kim" } })).status,
      ).toBe(404);
      reader.cut();
    });

    test("each connection waits another time before it comes back", async () => {
      const readers = await Promise.all(
        Array.from({ length: 20 }, () => listenSse(port(), "/sse?channel=open:retry")),
      );
      const waits = readers.map((reader) => reader.retry());
      for (const wait of waits) expect(wait).toBeWithin(1500, 2501);
      expect(new Set(waits).size).toBeGreaterThan(5);
      for (const reader of readers) reader.cut();
    });
  });
}

describe("limits and endings of server-sent events", () => {
  test("over the limit of connections a stream says so with 200, retry and closed; a place is free again after an end", async () => {
    const world = await startWorld("embedded", { toml: "[limits]\nmax_connections = 2\n" });
    try {
      const first = await listenSse(world.channel.port, "/sse?channel=a");
      await listenSse(world.channel.port, "/sse?channel=a");
      const third = openSse(world.channel.port, "/sse?channel=a");
      expect(await third.status).toBe(200);
      const closed = await third.events.next();
      expect(closed.event).toBe("closed");
      expect(JSON.parse(closed.data)).toMatchObject({ code: "too_many_connections" });
      expect(third.retry()).toBeGreaterThan(5000);
      expect(await third.ended).toBe("broken");
      first.cut();
      await eventually(async () => {
        const again = openSse(world.channel.port, "/sse?channel=a");
        return (await again.events.next()).event === "ready";
      }, "a free place");
      expect((await call(world.channel.url, "/metrics")).body).toContain('reason="http_503"');
    } finally {
      await world.stop();
    }
  });

  test("the limits of an address count streams", async () => {
    const world = await startWorld("embedded", {
      toml: `trusted_proxies = ["127.0.0.1"]\n[limits]\nmax_connections_per_ip = 1\n`,
    });
    try {
      const headers = { "x-forwarded-for": "203.0.113.7" };
      const first = openSse(world.channel.port, "/sse?channel=a", { headers });
      expect((await first.events.next()).event).toBe("ready");
      const second = openSse(world.channel.port, "/sse?channel=a", { headers });
      expect(JSON.parse((await second.events.next()).data).code).toBe("too_many_connections_of_address");
      first.cut();
    } finally {
      await world.stop();
    }
  });

  test("a server that stops says so, and is gone at once", async () => {
    const world = await startWorld("embedded");
    const readers = await Promise.all(
      Array.from({ length: 50 }, () => listenSse(world.channel.port, "/sse?channel=a")),
    );
    world.channel.kill("SIGTERM");
    for (const reader of readers) {
      const { data } = await reader.events.until((each) => each.event === "closed", "closed");
      expect(JSON.parse(data)).toEqual({ reason: "server restarting" });
      expect(await reader.ended).toBe("complete");
    }
    expect(await world.channel.exited).toBe(0);
    await world.stop();
  });

  test("sse = false turns it off", async () => {
    const world = await startWorld("embedded", { toml: "sse = false\n" });
    expect((await fetch(`${world.channel.url}/sse?channel=a`)).status).toBe(404);
    await world.stop();
  });

  test("a client that does not read is cut off as slow, and others get everything", async () => {
    const world = await startWorld("embedded", {
      toml: `[limits]\nmax_payload = "1MiB"\nmax_buffered_per_client = "2MiB"\n`,
    });
    try {
      const slow = await listenSse(world.channel.port, "/sse?channel=a");
      const other = await listenSse(world.channel.port, "/sse?channel=a");
      slow.socket.pause();
      const payload = JSON.stringify("x".repeat(500_000));
      for (let n = 0; n < 40; n++) {
        await world.backend.publish("to:a:e", payload);
        await other.message();
      }
      await eventually(
        async () => (await call(world.channel.url, "/metrics")).body.includes('{reason="slow"} 1'),
        "a cut off client",
      );
      expect((await call(world.channel.url, "/api/connections")).body.total).toBe(1);
      expect((await call(world.channel.url, "/metrics")).body).toContain("channel_buffered_bytes 0");
    } finally {
      await world.stop();
    }
  });
});
