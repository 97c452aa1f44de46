import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CERTIFICATE, KEY } from "../../unit/config/certificate.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { request } from "../groups/groups-client.ts";
import { addressOf, connectPhoenix, eventually } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";
import { openWebSocket } from "../websocket.ts";
import { ask } from "../wild/poller.ts";
import { ADMIN_SECRET, backendOn, SECRET, startWorld, type World } from "../world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function worldWith(toml: string): Promise<World> {
  const world = await startWorld("embedded", { toml });
  ends.push(() => world.stop());
  return world;
}

/** The status of each endpoint for these headers: a socket, groups, a poll (the status in its body) and a token. */
async function statuses(world: World, headers: Readonly<Record<string, string>>, base = "") {
  const url = world.channel.url + base;
  const socket = await openWebSocket(addressOf(url), headers);
  if ("cut" in socket) socket.cut();
  const groups = await request(url, { params: { token: world.token("room") }, headers });
  if ("socket" in groups) groups.socket.cut();
  const poll = await ask(`${url}/longpoll?vsn=2.0.0`, { headers: { ...headers } });
  const token = await fetch(`${url}/token`, {
    method: "POST",
    headers: { ...headers },
    body: '{"channel":"room"}',
  });
  return {
    socket: socket.status,
    groups: "socket" in groups ? 101 : groups.status,
    poll: poll.status,
    token: token.status,
  };
}

const OPEN = { socket: 101, groups: 101, poll: 410, token: 200 };
const SHUT = { socket: 403, groups: 403, poll: 403, token: 403 };

describe("origins, at every endpoint", () => {
  test("same-host: accepts any port of the requested host, and no other website", async () => {
    const world = await worldWith("");
    for (const origin of ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:1"]) {
      expect(await statuses(world, { origin })).toEqual(OPEN);
    }
    for (const origin of [
      "null",
      "https://evil.example",
      "http://localhost.evil.example",
      "http://127.0.0.1.evil.example",
    ]) {
      expect(await statuses(world, { origin })).toEqual(SHUT);
    }
    for (const origin of [
      "file://",
      "chrome-extension://abc",
      "http://",
      "http://evil.example http://localhost",
      "//localhost",
    ]) {
      expect(await statuses(world, { origin })).toEqual(SHUT);
    }
    expect(await statuses(world, {})).toEqual(OPEN);
  });

  test("a list is matched exactly, with scheme and port; our own pages are accepted too", async () => {
    const world = await worldWith(`allowed_origins = ["https://app.example", "http://other.example:8080"]\n`);
    for (const origin of ["https://app.example", "http://other.example:8080", world.channel.url]) {
      expect(await statuses(world, { origin })).toEqual(OPEN);
    }
    for (const origin of [
      "http://app.example",
      "https://app.example:8443",
      "https://app.example.evil",
      "http://localhost:5173",
      "null",
    ]) {
      expect(await statuses(world, { origin })).toEqual(SHUT);
    }
  });

  test('"*" accepts every page, also a sandboxed one, but not for administration', async () => {
    const world = await worldWith(`allowed_origins = "*"\n`);
    for (const origin of ["https://evil.example", "null"])
      expect(await statuses(world, { origin })).toEqual(OPEN);
    const stats = await fetch(`${world.channel.url}/api/stats`, {
      headers: { origin: "https://evil.example", authorization: `Bearer ${ADMIN_SECRET}` },
    });
    expect(stats.headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("hosts: a foreign name that resolves to this server", () => {
  test("is refused at every endpoint, and so is a page of the same foreign origin", async () => {
    const world = await worldWith("");
    const port = world.channel.port;
    for (const host of [
      `evil.example:${port}`,
      "evil.example",
      `localhost.evil.example:${port}`,
      "xn--localhst-c1a",
    ]) {
      expect(await statuses(world, { host })).toEqual(SHUT);
      expect(await statuses(world, { host, origin: `http://${host}` })).toEqual(SHUT);
      for (const path of ["/", "/health", "/api/stats", "/metrics", "/admin.html"]) {
        expect((await fetch(world.channel.url + path, { headers: { host } })).status).toBe(403);
      }
    }
    for (const host of ["127.0.0.1", `[::1]:${port}`, `LOCALHOST:${port}`, "localhost.", "10.1.2.3"]) {
      expect(await statuses(world, { host })).toEqual(OPEN);
    }
  });

  test("is accepted if it is listed in allowed_hosts or is the host of public_url", async () => {
    const world = await worldWith(`allowed_hosts = ["chat.example"]\npublic_url = "https://www.example/"\n`);
    for (const host of ["chat.example", "chat.example:8443", "CHAT.example", "www.example"]) {
      expect(await statuses(world, { host })).toEqual(OPEN);
    }
    expect(await statuses(world, { host: "mail.example" })).toEqual(SHUT);
    // A page under the proxy's name is of the same origin.
    expect(await statuses(world, { host: "www.example", origin: "https://www.example" })).toEqual(OPEN);
  });
});

describe("base_path", () => {
  test("prefixes every address of all protocols; nothing answers without it", async () => {
    const world = await worldWith(`base_path = "/live/channel"\n`);
    const base = "/live/channel";
    expect(await statuses(world, {}, base)).toEqual(OPEN);
    for (const path of ["/", "/health", "/ready", "/metrics", "/phoenix.js", "/admin.html"]) {
      expect((await fetch(world.channel.url + base + path)).status).toBeOneOf([200]);
      expect((await fetch(world.channel.url + path)).status).toBe(404);
    }
    for (const wrong of [
      "",
      "/live",
      "/live/channels",
      "/live/channel.",
      "/Live/channel",
      "/live//channel",
    ]) {
      const socket = await openWebSocket(addressOf(world.channel.url, { path: `${wrong}/websocket` }));
      // No address has an empty part in the middle.
      expect([wrong, socket.status]).toEqual([wrong, wrong === "/live//channel" ? 400 : 404]);
      if ("cut" in socket) socket.cut();
    }
    const deep = await connectPhoenix(world.channel.url, { path: `${base}/socket/websocket` });
    expect((await deep.join("room", { token: world.token("room") })).status).toBe("ok");
    deep.socket.cut();
    const link = world.channel.lines.find(({ message }) => message === "listening")?.url;
    expect(link).toBe(`${world.channel.url}${base}`);
  });
});

describe("trusted_proxies", () => {
  test("ignores the forwarded headers of a proxy that is not listed: address, https and loopback", async () => {
    const world = await worldWith(`[limits]\nmax_connections_per_ip = 1\n`);
    const forwarded = (address: string) => ({ "x-forwarded-for": address, "x-forwarded-proto": "https" });
    const once = (address: string) => ({ ...forwarded(address), connection: "close" });
    expect((await fetch(`${world.channel.url}/metrics`, { headers: once("127.0.0.1") })).status).toBe(401);
    expect(await signIn(world, once("192.0.2.1"))).not.toContain("Secure");
    const first = await openWebSocket(addressOf(world.channel.url), forwarded("192.0.2.1"));
    expect(first.status).toBe(101);
    if ("cut" in first) ends.push(() => first.cut());
    // All clients behind it count as one address.
    for (const address of ["192.0.2.2", "127.0.0.1"]) {
      expect((await openWebSocket(addressOf(world.channel.url), forwarded(address))).status).toBe(503);
    }
    // Without such a header it is a local program, which has no limit.
    for (let i = 0; i < 3; i++) {
      const socket = await openWebSocket(addressOf(world.channel.url));
      expect(socket.status).toBe(101);
      if ("cut" in socket) ends.push(() => socket.cut());
    }
  });

  test("uses the client's address from a listed proxy, and sets a Secure cookie for https", async () => {
    const world = await worldWith(
      `trusted_proxies = ["127.0.0.1", "198.51.100.7"]\n[limits]\nmax_connections_per_ip = 1\n`,
    );
    const from = (chain: string) => openWebSocket(addressOf(world.channel.url), { "x-forwarded-for": chain });
    const first = await from("192.0.2.1");
    expect(first.status).toBe(101);
    if ("cut" in first) ends.push(() => first.cut());
    for (const chain of [
      "192.0.2.1",
      "192.0.2.9,192.0.2.1, 198.51.100.7",
      "::ffff:192.0.2.1",
      "192.0.2.1:4711",
    ]) {
      expect((await from(chain)).status).toBe(503);
    }
    const other = await from("192.0.2.1, 192.0.2.2");
    expect(other.status).toBe(101);
    if ("cut" in other) ends.push(() => other.cut());
    const far = { "x-forwarded-for": "192.0.2.3" };
    expect((await fetch(`${world.channel.url}/metrics`, { headers: far })).status).toBe(401);
    expect(await signIn(world, { ...far, "x-forwarded-proto": "https" })).toContain("Secure");
    expect(await signIn(world, { ...far, "x-forwarded-proto": "https, http" })).not.toContain("Secure");
  });
});

describe("TLS served by ourselves", () => {
  async function secure(
    toml: string,
    options: { env?: Record<string, string> } = {},
  ): Promise<ChannelProcess> {
    const folder = mkdtempSync(join(tmpdir(), "channel-tls-"));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    writeFileSync(cert, CERTIFICATE);
    writeFileSync(key, KEY);
    const channel = await startChannel({
      args: ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`],
      toml: `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\ntls_cert = "${cert}"\ntls_key = "${key}"\n${toml}`,
      ...options,
    });
    ends.push(() => channel.stop());
    return channel;
  }

  test("serves pages, tokens and sockets by https only, and logs the address", async () => {
    const channel = await secure("");
    const url = `https://localhost:${channel.port}`;
    const tls = { ca: CERTIFICATE };
    expect(channel.lines.find(({ message }) => message === "listening")?.url).toBe(
      `https://127.0.0.1:${channel.port}`,
    );
    expect((await fetch(`${url}/`, { tls })).status).toBe(200);
    expect((await fetch(`${url}/ready`, { tls })).status).toBe(200);
    const minted = await fetch(`${url}/token`, {
      tls,
      method: "POST",
      body: '{"channel":"room","id":"alice"}',
    });
    const { token } = Object(await minted.json());
    // Bun's own options, which the DOM's types don't have.
    const options: object = { tls };
    const socket: WebSocket = Reflect.construct(WebSocket, [
      `${url.replace("https", "wss")}/websocket?vsn=2.0.0`,
      options,
    ]);
    ends.push(() => socket.close());
    const frames: string[] = [];
    socket.onmessage = ({ data }) => frames.push(String(data));
    await eventually(() => socket.readyState === WebSocket.OPEN, "open");
    socket.send(JSON.stringify(["1", "1", "room", "phx_join", { token }]));
    await eventually(() => frames.some((frame) => frame.includes('"status":"ok"')), "joined");
    // Also a large message, which TLS splits into records.
    const backend = backendOn(Number(/:(\d+)/.exec(String(embeddedWhere(channel)))?.[1]));
    ends.push(() => backend.stop());
    await backend.publish("to:room:news", JSON.stringify("n".repeat(1_000_000)));
    await eventually(() => frames.some((frame) => frame.length > 1_000_000), "a large one");
    // The certificate is verified, and plain HTTP gets no answer.
    expect(await fetch(`${url}/health`).catch((error: unknown) => String(error))).toMatch(
      /certificate|self.signed/i,
    );
    const plain = await fetch(`http://localhost:${channel.port}/health`).catch(() => "refused");
    expect(plain instanceof Response ? plain.status : plain).not.toBe(200);
    expect((await fetch(`${url}/health`, { tls })).status).toBe(200);
    const cookie = await fetch(`${url}/admin/sign_in`, {
      tls,
      method: "POST",
      body: JSON.stringify({ secret: ADMIN_SECRET }),
    });
    expect(cookie.headers.get("set-cookie")).toContain("Secure");
  }, 20_000);

  test("reports an invalid certificate in one line", async () => {
    const folder = mkdtempSync(join(tmpdir(), "channel-tls-"));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    writeFileSync(cert, "not a certificate");
    writeFileSync(key, KEY);
    const failure = await startChannel({ toml: `tls_cert = "${cert}"\ntls_key = "${key}"\n` }).catch(String);
    expect(failure).toMatch(/tls_cert/);
    expect(failure).not.toMatch(/\n\s+at /);
    expect(failure).not.toContain("PRIVATE");
  });
});

describe("the port of the embedded bus against a page's requests", () => {
  test("ignores every request of a page: no byte is sent back, nothing is published", async () => {
    const world = await worldWith("");
    const port = Number(/:(\d+)/.exec(String(embeddedWhere(world.channel)))?.[1]);
    const client = await world.connect();
    await client.join("room", { token: world.token("room") });
    const command = "*3\r\n$7\r\nPUBLISH\r\n$12\r\nto:room:evil\r\n$1\r\n1\r\n";
    const inline = "PUBLISH to:room:evil 1\r\n";
    const requests = [
      `POST / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: ${command.length}\r\n\r\n${command}`,
      `GET /${encodeURIComponent(command)} HTTP/1.1\r\nHost: x\r\n\r\n${command}`,
      `PUT / HTTP/1.1\r\n${command}`,
      `OPTIONS / HTTP/1.1\r\n\r\n`,
      `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${command}`,
      inline,
      `\r\n${command}`,
      ` ${command}`,
      "\u0016\u0003\u0001\u0002\u0000\u0001",
    ];
    for (const request of requests) {
      expect(await conversation(port, request)).toBe("");
      // In two pieces, like the head and body of a request.
      expect(await conversation(port, request.slice(0, 4), request.slice(4))).toBe("");
    }
    for (const body of [command, inline]) {
      const sent = fetch(`http://127.0.0.1:${port}/`, { method: "POST", body, mode: "no-cors" });
      expect(await sent.then(() => "answered").catch(() => "refused")).toBe("refused");
    }
    await world.backend.publish("to:room:good", "1");
    await client.event("good");
    expect(client.frames.all.filter((each) => each.event === "evil")).toEqual([]);
  });
});

function embeddedWhere({ lines }: ChannelProcess): unknown {
  return lines.find(({ message }) => message.includes("using the embedded bus"))?.where;
}

async function signIn(world: World, headers: Readonly<Record<string, string>>): Promise<string> {
  const answer = await fetch(`${world.channel.url}/admin/sign_in`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ secret: ADMIN_SECRET }),
  });
  expect(answer.ok).toBe(true);
  return answer.headers.get("set-cookie") ?? "";
}

/** Sends the pieces unchanged. Resolves to everything received until the server closes. */
function conversation(port: number, ...pieces: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", async () => {
      for (const piece of pieces) {
        if (!socket.destroyed) socket.write(piece, "latin1");
        await Bun.sleep(5);
      }
    });
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}
