import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createSign, generateKeyPairSync } from "node:crypto";
import { connect } from "node:net";
import { eventually, type Frame, VERSIONS } from "../phoenix-client.ts";
import { BUSES, RETURNS_MEMORY, startWorld, type World } from "../world.ts";
import { addressOf, ask, begin, frameOf, metric, type Poller, pollerOf, startPoller } from "./poller.ts";

const HEARTBEAT = `[null,"h","phoenix","heartbeat",{}]`;

const join = (topic: string, token: string, ref = "1"): string =>
  JSON.stringify([ref, ref, topic, "phx_join", { token }]);

const isReply =
  (ref: string) =>
  (frame: Frame): boolean =>
    frame.event === "phx_reply" && frame.ref === ref;

const isEvent =
  (event: string) =>
  (frame: Frame): boolean =>
    frame.event === event;

for (const bus of BUSES) {
  describe.concurrent(`long polling on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: [
          `presence_window = "10ms"\nallowed_origins = ["http://page.example"]\ntrusted_proxies = ["127.0.0.1"]`,
          `[channels."quiet*"]\npresence = false`,
          `[limits]\nmax_buffered_per_client = "8MiB"\nmax_connections_per_ip = 2\n`,
        ].join("\n"),
      });
    });
    afterAll(() => world.stop());

    const joined = async (topic: string, options = {}): Promise<Poller> => {
      const poller = await startPoller(world.channel.url, options);
      expect((await poller.post(join(topic, world.token(topic)))).status).toBe(200);
      const [reply] = await poller.until(isReply("1"));
      expect(reply?.payload).toMatchObject({ status: "ok" });
      return poller;
    };

    test("a second poll ends the first without messages, and gets the next ones", async () => {
      const poller = await joined("quiet:two");
      // The one that arrives later ends the other.
      const polls = [poller.poll(), poller.poll()];
      const released = await Promise.race(polls);
      expect(released).toMatchObject({ status: 204, messages: [] });
      await world.backend.publish("to:quiet:two:only", "1");
      const [other] = (await Promise.all(polls)).filter((answer) => answer !== released);
      expect(other?.messages.map((each) => frameOf(each, "2.0.0").event)).toEqual(["only"]);
    });

    test("messages sent after a poll was aborted are in the answer to the next one", async () => {
      const poller = await joined("quiet:hung");
      for (let i = 0; i < 20; i++) {
        const hang = new AbortController();
        const lost = poller.poll({ signal: hang.signal }).catch(() => "hung up");
        await Bun.sleep(10);
        hang.abort();
        expect(await lost).toBe("hung up");
        // The server notices when the end of the connection arrives.
        await Bun.sleep(20);
        await world.backend.publish("to:quiet:hung:n", String(i));
        const [frame, ...more] = await poller.until(isEvent("n"));
        expect([frame?.payload, more.length]).toEqual([i, 0]);
      }
    });

    test("a repeated poll whose answer was lost gets the same messages, until they are acknowledged", async () => {
      const poller = await joined("quiet:lost");
      const { token } = poller;
      const witness = await world.connect();
      await witness.join("quiet:lost", { token: world.token("quiet:lost") });
      const publish = async (n: number): Promise<void> => {
        await world.backend.publish("to:quiet:lost:n", String(n));
        await witness.event("n");
      };
      const polled = async (): Promise<unknown[]> => {
        const { messages, token: next } = await pollerOf(world.channel.url, token).poll();
        expect(next).not.toBe(token);
        return messages.map((each) => frameOf(each, "2.0.0").payload);
      };
      await publish(1);
      expect(await polled()).toEqual([1]);
      expect(await polled()).toEqual([1]);
      await publish(2);
      expect(await polled()).toEqual([1, 2]);
      const frames = await poller.until((each) => each.payload === 2);
      expect(frames.map(({ payload }) => payload)).toEqual([1, 2]);
      await publish(3);
      expect((await poller.until(isEvent("n"))).map(({ payload }) => payload)).toEqual([3]);
    });

    test("a client that always polls with its first token gets each message once", async () => {
      const topic = "quiet:first";
      const { token = "" } = await begin(world.channel.url);
      const got: unknown[] = [];
      const poll = async (): Promise<void> => {
        const { messages } = await pollerOf(world.channel.url, token).poll();
        got.push(
          ...messages
            .map((each) => frameOf(each, "2.0.0"))
            .map(({ event, payload }) => (event === "n" ? payload : event)),
        );
      };
      await pollerOf(world.channel.url, token).post(join(topic, world.token(topic)));
      await poll();
      for (let i = 0; i < 20; i++) {
        await world.backend.publish(`to:${topic}:n`, String(i));
        await poll();
      }
      expect(got).toEqual(["phx_reply", ...Array.from({ length: 20 }, (_, i) => i)]);
    });

    test("an answer that broke is repeated completely by the next poll", async () => {
      const poller = await joined("quiet:half");
      const fill = "x".repeat(60_000);
      for (let i = 0; i < 120; i++)
        await world.backend.publish("to:quiet:half:n", JSON.stringify({ i, fill }));
      // Reads nothing, so that only the kernel's buffers are filled; then the connection breaks.
      const { port, pathname, search } = new URL(addressOf(world.channel.url, {}, poller.token));
      const line = connect(Number(port), "127.0.0.1");
      line.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
      line.pause();
      await Bun.sleep(500);
      const meanwhile = poller.until((frame) => Object(frame.payload).i === 120);
      await Bun.sleep(100);
      await world.backend.publish("to:quiet:half:n", JSON.stringify({ i: 120 }));
      await Bun.sleep(100);
      line.destroy();
      const got = (await meanwhile).map(({ payload }) => Object(payload).i);
      expect(got).toEqual(Array.from({ length: 121 }, (_, i) => i));
    });

    test("a backlog in one POST is handled in order", async () => {
      const topic = "quiet:backlog";
      const poller = await joined(topic);
      const inbox = await world.backend.listen(`from:${topic}:*`);
      const count = 1500;
      const lines = Array.from({ length: count }, (_, i) => `["1","p${i}","${topic}","n",${i}]`);
      expect(await poller.post(...lines)).toMatchObject({ http: 200, status: 200 });
      const replies = await poller.until(isReply(`p${count - 1}`));
      expect(replies.map(({ ref }) => ref)).toEqual(lines.map((_, i) => `p${i}`));
      expect(replies.every(({ payload }) => Object(payload).status === "ok")).toBe(true);
      const published = await Promise.all(lines.map(() => inbox.next()));
      expect(published.map(({ payload }) => Number(payload))).toEqual(lines.map((_, i) => i));
    });

    test("a body may have 8 MiB, and each of its frames the limit of a socket's frame", async () => {
      const topic = "quiet:body";
      const poller = await joined(topic);
      const inbox = await world.backend.listen(`from:${topic}:*`);
      const line = (i: number, size: number): string =>
        `["1","b${i}","${topic}","n",${JSON.stringify({ i, fill: "x".repeat(size) })}]`;
      const backlog = Array.from({ length: 9 }, (_, i) => line(i, 920_000));
      expect((await poller.post(...backlog)).status).toBe(200);
      for (let i = 0; i < 9; i++) expect(JSON.parse((await inbox.next()).payload.toString()).i).toBe(i);
      const more = Array.from({ length: 9 }, (_, i) => line(i, 960_000));
      expect(await poller.post(...more)).toMatchObject({ http: 200, status: 500 });
      expect((await poller.post(HEARTBEAT)).status).toBe(200);
      expect(await poller.post(line(0, 1024 * 1024))).toMatchObject({ http: 200, status: 500 });
      expect((await poller.post(HEARTBEAT)).status).toBe(410);
    });

    test("lines are text or base64, any other content type is one frame of text", async () => {
      const topic = "quiet:kinds";
      const poller = await joined(topic);
      const inbox = await world.backend.listen(`from:${topic}:*`);
      const binary = (ref: string, data: string): string => {
        const strings = ["1", ref, topic, "bytes"];
        const head = Buffer.from([0, ...strings.map((each) => each.length)]);
        return Buffer.concat([head, Buffer.from(strings.join("")), Buffer.from(data, "hex")]).toString(
          "base64",
        );
      };
      await poller.post(binary("a", "00ff10"), `["1","b","${topic}","text",[1]]`, "", binary("c", "01"));
      expect((await inbox.next()).payload.toString("hex")).toBe("00ff10");
      expect((await inbox.next()).payload.toString()).toBe("[1]");
      expect((await inbox.next()).payload.toString("hex")).toBe("01");
      await poller.postBody(`["1","d","${topic}","lines",{\n"a" : 1}]`, "application/json");
      expect((await inbox.next()).payload.toString()).toBe('{\n"a" : 1}');
      await poller.postBody(`["1","e","${topic}","typed",2]\n`, "Application/X-NDJSON; charset=utf-8");
      expect((await inbox.next()).payload.toString()).toBe("2");
      const replies = await poller.until(isReply("e"));
      expect(replies.map(({ ref }) => ref)).toEqual(["a", "b", "c", "d", "e"]);
    });

    test("a token in the page's params, in userToken or in phoenix.js' authToken allows a join", async () => {
      const token = world.token("quiet:own");
      const bare = `["1","1","quiet:own","phx_join",{}]`;
      const ways = [
        { params: { token } },
        { params: { userToken: token } },
        { headers: { "x-phoenix-authtoken": token } },
        { params: { token: "[object Promise]", userToken: token } },
      ];
      for (const way of ways) {
        const { token: session = "" } = await begin(world.channel.url, way);
        const { headers, ...rest } = { headers: {}, ...way };
        // phoenix.js sends the header with GET only.
        const poller = pollerOf(world.channel.url, session, { ...rest, headers: {} });
        await poller.post(bare);
        const [reply] = await poller.until(isReply("1"));
        expect([way, Object(reply?.payload).status]).toEqual([way, "ok"]);
        expect(Object.keys(headers).length).toBeLessThan(2);
      }
      // With the session's token in the header, the only one in the query is the page's.
      const { token: session = "" } = await begin(world.channel.url, { params: { token } });
      const address = addressOf(world.channel.url, { params: { token } });
      const headers = { "x-phoenix-longpoll-token": session };
      expect((await ask(address, { method: "POST", body: bare, headers })).status).toBe(200);
      const { messages } = await ask(address, { headers });
      expect(messages.map((each) => frameOf(each, "2.0.0").payload)).toMatchObject([{ status: "ok" }]);
    });

    test("an authToken too long for later polls is refused at once, and the longest allowed one works", async () => {
      const url = world.channel.url;
      const headersOf = (length: number) => ({ headers: { "x-phoenix-authtoken": "t".repeat(length) } });
      expect(await begin(url, headersOf(8000))).toMatchObject({ http: 200, status: 403, token: undefined });
      let longest = 8000;
      while ((await begin(url, headersOf(longest))).status === 403) longest -= 100;
      expect(longest).toBeGreaterThan(5000);
      const poller = await startPoller(url, headersOf(longest));
      await poller.post(HEARTBEAT);
      expect((await poller.poll({ headers: { cookie: "c".repeat(500) } })).status).toBe(200);
    });

    test("the HTTP status is 200 for every error", async () => {
      const { url } = world.channel;
      const poller = await joined("quiet:wrong");
      const session = addressOf(url, {}, poller.token);
      const frame = { method: "POST", body: HEARTBEAT };
      const huge = new Uint8Array(9 * 1024 * 1024).fill(0x20);
      const cases: readonly (readonly [string, number, string, RequestInit])[] = [
        ["a version that does not exist", 403, `${url}/longpoll?vsn=3.0.0`, {}],
        ["a foreign page", 403, session, { headers: { origin: "http://evil.example" } }],
        ["a foreign page that sends", 403, session, { ...frame, headers: { origin: "null" } }],
        ["a foreign host", 403, session, { headers: { host: "evil.example" } }],
        [
          "a foreign preflight",
          403,
          session,
          { method: "OPTIONS", headers: { origin: "http://evil.example" } },
        ],
        ["another method", 500, session, { method: "PUT", body: "x" }],
        ["DELETE", 500, session, { method: "DELETE" }],
        ["no session", 410, `${url}/longpoll?vsn=2.0.0`, frame],
        ["too much", 500, session, { method: "POST", body: huge }],
        ["no UTF-8", 500, session, { method: "POST", body: new Uint8Array([0xc3, 0x28]) }],
        ["after all that", 200, session, frame],
        ["below another path", 410, `${url}/socket/longpoll?vsn=2.0.0`, {}],
      ];
      for (const [what, status, address, init] of cases) {
        const answer = await ask(address, init);
        expect([what, answer.http, answer.status]).toEqual([what, 200, status]);
        expect(answer.headers.get("cache-control")).toBe("no-store");
      }
    });

    test("every answer has CORS headers, and OPTIONS echoes the requested headers", async () => {
      const origin = "http://page.example";
      const { token = "" } = await begin(world.channel.url, { headers: { origin } });
      const session = addressOf(world.channel.url, {}, token);
      const asked = "content-type, x-phoenix-authtoken, x-whatever";
      const preflight = await fetch(session, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": asked },
      });
      expect(preflight.status).toBe(200);
      expect(preflight.headers.get("access-control-allow-headers")).toBe(asked);
      expect(preflight.headers.get("access-control-allow-methods")).toContain("POST");
      expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
      const sent = { method: "POST", body: HEARTBEAT };
      const inits: RequestInit[] = [
        {},
        sent,
        { ...sent, body: "[" },
        { ...sent, body: new Uint8Array([255]) },
      ];
      for (const init of [...inits, { method: "PUT" }]) {
        const { headers } = await ask(session, { ...init, headers: { origin } });
        expect(headers.get("access-control-allow-origin")).toBe(origin);
        expect(headers.get("access-control-allow-credentials")).toBeNull();
      }
    });

    test("a token is valid unchanged, at the server that issued it, until its session ends", async () => {
      const poller = await startPoller(world.channel.url);
      expect((await poller.post(HEARTBEAT)).status).toBe(200);
      const other = await startWorld("embedded");
      try {
        const wrong = [
          "",
          "x",
          poller.token.slice(0, -1),
          `${poller.token}A`,
          poller.token.replace(/[A-Za-z](?=[^.]*$)/, (letter) => (letter === "a" ? "b" : "a")),
          poller.token.split(".")[1] ?? "",
          `${poller.token.split(".")[0]}.`,
          `${poller.token}.x`,
          `${poller.token}.1.1`,
          (await startPoller(other.channel.url)).token,
          world.token("quiet:token"),
        ];
        for (const token of wrong) {
          const guessed = pollerOf(world.channel.url, token);
          expect([token, (await guessed.post(HEARTBEAT)).status]).toEqual([token, 410]);
          const answer = await guessed.poll();
          expect([token, answer.status, answer.token === token]).toEqual([token, 410, false]);
        }
      } finally {
        await other.stop();
      }
      expect((await poller.until(isReply("h"))).length).toBe(1);
    });

    test("frames of a dismissed client are ignored until its session ends 2 to 5 s later", async () => {
      const poller = await joined("struck");
      const leaves = await world.backend.listen("to:struck:presence_diff");
      const start = performance.now();
      expect((await poller.post(...Array.from({ length: 10 }, () => "[nonsense"))).status).toBe(200);
      await leaves.until(({ payload }) => payload.includes('"leaves":{"alice"'));
      expect((await poller.post(HEARTBEAT)).status).toBe(200);
      let ended = await poller.poll();
      while (ended.status !== 410) ended = await poller.poll();
      expect(performance.now() - start).toBeGreaterThan(2_000);
      expect((await poller.post(HEARTBEAT)).status).toBe(410);
    }, 15_000);

    test("a session that is not polled is cut off at its backlog limit and counts as slow", async () => {
      const { url } = world.channel;
      const slow = () => metric(url, 'channel_disconnects_total{reason="slow"}');
      const topic = "full";
      const leaves = await world.backend.listen(`to:${topic}:presence_diff`);
      const poller = await joined(topic);
      const before = await slow();
      const megabyte = JSON.stringify("x".repeat(1024 * 1024));
      for (let i = 0; i < 7; i++) await world.backend.publish(`to:${topic}:big`, megabyte);
      expect((await poller.post(HEARTBEAT)).status).toBe(200);
      for (let i = 0; i < 2; i++) await world.backend.publish(`to:${topic}:big`, megabyte);
      await leaves.until(({ payload }) => payload.includes('"leaves":{"alice"'));
      expect(await slow()).toBeGreaterThan(before);
      expect((await poller.poll()).status).toBe(410);
    });

    test("an answer that is not read counts as backlog, with or without polls on other connections", async () => {
      const { url } = world.channel;
      const topic = "unread";
      const leaves = await world.backend.listen(`to:${topic}:presence_diff`);
      const poller = await joined(topic);
      const { port, pathname, search } = new URL(addressOf(url, {}, poller.token));
      const megabyte = JSON.stringify("x".repeat(1024 * 1024));
      const publish = () => world.backend.publish(`to:${topic}:big`, megabyte);
      const witness = await world.connect();
      await witness.join(topic, { token: world.token(topic, { id: "witness" }) });
      for (let i = 0; i < 7; i++) await publish();
      for (let i = 0; i < 7; i++) await witness.event("big");
      const lines = Array.from({ length: 10 }, () => {
        const line = connect(Number(port), "127.0.0.1");
        line.on("error", () => {});
        line.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
        line.pause();
        return line;
      });
      await Bun.sleep(300);
      // What was passed to the network does not count: a few megabytes.
      for (let i = 0; i < 24; i++) await publish();
      // The witness may be cut off at the same time, for the same reason.
      await leaves.until(
        ({ payload }) => "alice" in Object(JSON.parse(payload.toString())).leaves,
        "the leave",
      );
      expect((await poller.poll()).status).toBe(410);
      for (const line of lines) line.destroy();
    });

    // Tests that wait 15 s run on one bus only: the bus makes no difference.
    if (bus === "embedded") {
      test("15 s without a poll end a session: its presence leaves, its place is free, its token is invalid", async () => {
        const from = { headers: { "x-forwarded-for": "192.0.2.15" } };
        const leaves = await world.backend.listen("to:left:presence_diff");
        const began = performance.now();
        const first = await joined("left", from);
        await joined("left", from);
        // Both places are in use: a third session is refused before it gets a token, which phoenix.js counts as open.
        expect(await begin(world.channel.url, from)).toMatchObject({
          http: 200,
          status: 500,
          token: undefined,
        });
        const left = await leaves.until(
          ({ payload }) => "alice" in Object(JSON.parse(payload.toString())).leaves,
          "the leave",
          30_000,
        );
        expect(left).toBeDefined();
        // Its last poll ended after that.
        expect(performance.now() - began).toBeGreaterThan(15_000);
        expect((await first.post(HEARTBEAT)).status).toBe(410);
        const gone = await first.poll();
        expect(gone).toMatchObject({ http: 200, status: 410, messages: [] });
        expect(gone.token).not.toBe(first.token);
        await joined("left", from);
      }, 60_000);

      test("an unused token takes no place, and one used too late starts no session", async () => {
        const from = { headers: { "x-forwarded-for": "192.0.2.16" } };
        const many = await Promise.all(
          Array.from({ length: 50 }, () => startPoller(world.channel.url, from)),
        );
        expect(new Set(many.map(({ token }) => token)).size).toBe(50);
        const [first, second, third, ...unused] = many;
        expect((await first?.post(HEARTBEAT))?.status).toBe(200);
        expect((await second?.post(HEARTBEAT))?.status).toBe(200);
        // All got a token, but the first two took the places.
        expect((await third?.post(HEARTBEAT))?.status).toBe(500);
        await Bun.sleep(15_500);
        // The first two end without polls, a little later on a busy machine: until then there is no place.
        const isOver = async () => (await unused[0]?.post(HEARTBEAT))?.status === 410;
        await eventually(isOver, "the end of the token", 30_000);
        expect((await unused[1]?.poll())?.status).toBe(410);
      }, 60_000);
    }

    for (const vsn of VERSIONS) {
      test(`binary payloads arrive as for V1 clients, ${vsn}`, async () => {
        const topic = `quiet:binary:${vsn}`;
        const poller = await startPoller(world.channel.url, { vsn });
        const payload = { token: world.token(topic) };
        const frame =
          vsn === "2.0.0"
            ? ["1", "1", topic, "phx_join", payload]
            : { topic, event: "phx_join", payload, ref: "1" };
        await poller.post(JSON.stringify(frame));
        await poller.until(isReply("1"));
        await world.backend.publish(`to:${topic}:bytes`, Buffer.from([0xff, 0x00]));
        await world.backend.publish(`to:${topic}:text`, "Hello from plugin");
        const frames = await poller.until(isEvent("text"));
        expect(frames.map((each) => each.payload)).toEqual([{ base64: "/wA=" }, "Hello from plugin"]);
      });
    }
  });
}

test.concurrent("a poll without a message ends with 204 after 10 s, also where idle_timeout is less, and the session lives on", async () => {
  const world = await startWorld("embedded", {
    toml: `[channels."*"]\npresence = false\n[limits]\nidle_timeout = "4s"\n`,
  });
  try {
    const poller = await startPoller(world.channel.url);
    await poller.post(join("wait", world.token("wait")));
    await poller.until(isReply("1"));
    const start = performance.now();
    const { status, token, messages } = await poller.poll();
    expect({ status, messages }).toEqual({ status: 204, messages: [] });
    expect(token).toBe(poller.token);
    expect(performance.now() - start).toBeGreaterThan(9_900);
    await world.backend.publish("to:wait:still", "1");
    expect((await poller.until(isEvent("still"))).length).toBe(1);
  } finally {
    await world.stop();
  }
}, 40_000);

test.concurrent("a backlog in one POST waits behind a join whose token takes time to verify, however large it is", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  const world = await startWorld("embedded", { toml: `jwt_public_key = '''\n${pem}'''\n` });
  try {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 3600;
    const signed = `${part({ alg: "ES256" })}.${part({ id: "alice", channel: "late", exp })}`;
    const signature = createSign("SHA256")
      .update(signed)
      .sign({ key: privateKey, dsaEncoding: "ieee-p1363" });
    const token = `${signed}.${signature.toString("base64url")}`;
    const inbox = await world.backend.listen("from:late:n");
    const poller = await startPoller(world.channel.url);
    const fill = "x".repeat(500_000);
    const lines = Array.from({ length: 12 }, (_, i) =>
      JSON.stringify(["1", `n${i}`, "late", "n", { i, fill }]),
    );
    expect((await poller.post(join("late", token), ...lines)).status).toBe(200);
    for (let i = 0; i < 12; i++) expect(JSON.parse((await inbox.next()).payload.toString()).i).toBe(i);
  } finally {
    await world.stop();
  }
});

// Not concurrent with the tests above, which depend on time: this one keeps the process busy.
test("a body of small frames is handled completely within the frame rate, and delays no other client", async () => {
  const world = await startWorld("embedded");
  try {
    const topic = "crowd";
    const poller = await startPoller(world.channel.url);
    await poller.post(join(topic, world.token(topic)));
    await poller.until(isReply("1"));
    const other = await world.connect();
    // Pushes without a ref get no reply.
    const line = `["1",null,"${topic}","n",1]`;
    const count = Math.floor((8 * 1024 * 1024) / (line.length + 1));
    const posted = poller.postBody(`${line}\n`.repeat(count), "application/x-ndjson");
    const state = { done: false };
    void posted.then(() => {
      state.done = true;
    });
    while (!state.done) await other.fence();
    expect((await posted).status).toBe(200);
    expect((await poller.post(HEARTBEAT)).status).toBe(200);
  } finally {
    await world.stop();
  }
}, 20_000);

test("bursts of 10,000 messages of 4 KB reach a polling client complete and in order", async () => {
  const world = await startWorld("redis", { env: RETURNS_MEMORY });
  try {
    const poller = await startPoller(world.channel.url);
    await poller.post(join("burst", world.token("burst")));
    await poller.until(isReply("1"));
    const fill = "x".repeat(4000);
    const numbers = Array.from({ length: 10_000 }, (_, i) => i);
    for (let round = 0; round < 3; round++) {
      const sent = Promise.all(
        numbers.map((i) => world.backend.publish("to:burst:n", JSON.stringify({ i, fill }))),
      );
      const frames = await poller.until(({ payload }) => Object(payload).i === 9_999);
      const got = frames.filter(({ event }) => event === "n").map(({ payload }) => Object(payload).i);
      expect(got).toEqual(numbers);
      await sent;
    }
    const status = await Bun.file(`/proc/${world.channel.pid}/status`).text();
    expect(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])).toBeLessThan(500 * 1024);
  } finally {
    await world.stop();
  }
}, 30_000);
