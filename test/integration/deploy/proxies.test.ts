import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LongPoll, Socket } from "phoenix";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { Inbox, short } from "../inbox.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { type FrontProxy, startProxy } from "./proxy.ts";

/*
 * The configurations of deploy/ as they are, in front of two servers on one Redis; phoenix.js goes through them.
 */

const SECRET = "a-long-secret-that-nobody-could-guess";
const MARK = "a-word-that-must-not-be-written-down";

let redis: RedisProcess;
let servers: ChannelProcess[];
let before: string | undefined;

beforeAll(async () => {
  redis = await startRedis();
  const toml = `jwt_secret = "${SECRET}"\nredis_url = "${redis.url}"\nbus = "redis"\ntrusted_proxies = ["127.0.0.1"]\n`;
  servers = await Promise.all([startChannel({ toml }), startChannel({ toml })]);
  before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  // This machine does not trust the certificates here, and phoenix.js has no option for that.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
});

afterAll(async () => {
  if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  for (const server of servers ?? []) await server.stop();
  await redis?.stop();
});

interface Visitor {
  readonly heard: Inbox<unknown>;
  joined(): Promise<string>;
  push(): Promise<string>;
  leave(): void;
}

function visit(proxy: FrontProxy, transport: "websocket" | "longpoll", id: string): Visitor {
  const token = mint({ id: `${id}-${MARK}`, channel: "context" }, SECRET);
  const socket = new Socket(`${proxy.url.replace("https", "wss")}/websocket`, {
    ...(transport === "longpoll" ? { transport: LongPoll } : {}),
    params: { userToken: token, mark: MARK },
  });
  socket.connect();
  const channel = socket.channel("context", { token });
  const heard = new Inbox<unknown>(id, (message) => short(JSON.stringify(message)));
  const joins = new Inbox<string>(id, short);
  channel.on("n", (message) => heard.put(message));
  channel
    .join()
    .receive("ok", () => joins.put("ok"))
    .receive("error", (reason) => joins.put(JSON.stringify(reason)));
  return {
    heard,
    joined: () => joins.next(),
    push: () =>
      new Promise((resolve) => {
        channel
          .push("say", { hello: 1 })
          .receive("ok", () => resolve("ok"))
          .receive("error", (reason) => resolve(JSON.stringify(reason)));
      }),
    leave: () => socket.disconnect(),
  };
}

async function publish(payload: string): Promise<void> {
  const client = new Bun.RedisClient(redis.url);
  await client.publish("to:context:n", payload);
  client.close();
}

for (const name of ["nginx", "caddy"] as const) {
  describe(`behind ${name}`, () => {
    let proxy: FrontProxy;
    beforeAll(async () => {
      proxy = await startProxy(
        name,
        servers.map(({ port }) => port),
      );
    }, 30_000);
    afterAll(async () => {
      await proxy?.stop();
    });

    for (const transport of ["websocket", "longpoll"] as const) {
      test(`phoenix.js joins, receives and is answered over ${transport}, on either server`, async () => {
        const visitors = Array.from({ length: 6 }, (_, i) => visit(proxy, transport, `v${i}`));
        try {
          for (const visitor of visitors) expect(await visitor.joined()).toBe("ok");
          await publish("1");
          for (const visitor of visitors) expect(await visitor.heard.next()).toBe(1);
          for (const visitor of visitors) expect(await visitor.push()).toBe("ok");
          // A poll that came to the other server would lose its session, and with it a message.
          for (let n = 2; n < 6; n++) {
            await publish(String(n));
            for (const visitor of visitors) expect(await visitor.heard.next()).toBe(n);
          }
        } finally {
          for (const visitor of visitors) visitor.leave();
        }
      });
    }

    test("the server sees the client's address and that it came by HTTPS", async () => {
      const { status } = await fetch(`${proxy.url}/metrics`, {
        headers: { "x-forwarded-for": "203.0.113.9" },
      });
      // nginx adds to what a client says of itself, Caddy drops it; what the proxy itself saw is loopback.
      expect(status).toBe(name === "nginx" ? 401 : 200);
      const page = await fetch(`${proxy.url}/token`, {
        method: "POST",
        headers: { origin: proxy.url, "content-type": "application/json" },
        body: JSON.stringify({ channel: "context" }),
      });
      expect(page.status).toBe(200);
      const foreign = await fetch(`${proxy.url}/token`, {
        method: "POST",
        headers: { origin: "https://elsewhere.example", "content-type": "application/json" },
        body: JSON.stringify({ channel: "context" }),
      });
      expect(foreign.status).toBe(403);
    });

    test("no token is written down, not even where nothing answers", async () => {
      const nobody = await startProxy(name, [servers[0]?.port ?? 0, freePort()]);
      for (let i = 0; i < 8; i++) await fetch(`${nobody.url}/health?token=${MARK}`).catch(() => {});
      await nobody.stop();
      const visitor = visit(proxy, "websocket", "last");
      await visitor.joined();
      visitor.leave();
      await fetch(`${proxy.url}/nowhere?token=${MARK}`, {
        headers: {
          authorization: `Bearer ${MARK}`,
          cookie: `token=${MARK}`,
          referer: `https://x.example/?t=${MARK}`,
        },
      });
      await eventually(() => proxy.written().includes("/websocket"), "the access log");
      await eventually(() => proxy.written().includes("/nowhere"), "the access log");
      expect(proxy.written()).not.toContain(MARK);
      // A token: its first characters alone also stand in a random key now and then.
      expect(proxy.written()).not.toMatch(/eyJ[\w-]{10,}\./);
    });
  });
}

test.each(["nginx", "caddy"] as const)(
  "%s with no server behind it writes no token down either",
  async (name) => {
    const toml = `jwt_secret = "${SECRET}"\nredis_url = "${redis.url}"\nbus = "redis"\n`;
    const server = await startChannel({ toml });
    const proxy = await startProxy(name, [server.port]);
    try {
      server.kill("SIGKILL");
      await server.exited;
      const answer = await fetch(`${proxy.url}/websocket?userToken=${MARK}`);
      expect(answer.status).toBeGreaterThanOrEqual(500);
      await eventually(() => proxy.written().includes("/websocket"), "the access log");
      expect(proxy.written()).not.toContain(MARK);
    } finally {
      await proxy.stop();
      await server.stop();
    }
  },
);

test.each(["nginx", "caddy"] as const)(
  "pages come back when the only server behind %s was away",
  async (name) => {
    const toml = `jwt_secret = "${SECRET}"\nredis_url = "${redis.url}"\nbus = "redis"\nshutdown_grace = 0\n`;
    let server = await startChannel({ toml });
    const proxy = await startProxy(name, [server.port]);
    const visitors = (["websocket", "longpoll"] as const).map((transport) =>
      visit(proxy, transport, transport),
    );
    try {
      for (const visitor of visitors) expect(await visitor.joined()).toBe("ok");
      await server.stop();
      // They fail at least once: no server listens.
      await eventually(() => /"status": ?502|" 502 /.test(proxy.written()), "a try in vain", 10_000);
      server = await startChannel({ toml, port: server.port });
      for (const visitor of visitors) expect(await visitor.joined()).toBe("ok");
      await publish("7");
      for (const visitor of visitors) expect(await visitor.heard.next()).toBe(7);
    } finally {
      for (const visitor of visitors) visitor.leave();
      await proxy.stop();
      await server.stop();
    }
  },
  60_000,
);
