import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openWebSocket } from "./websocket.ts";
import { ADMIN_SECRET, SECRET, startWorld, type World } from "./world.ts";

const FOLDER = mkdtempSync(join(tmpdir(), "channel-http-"));
const JSON_BODY = { "content-type": "application/json" };

let world: World;

beforeAll(async () => {
  mkdirSync(join(FOLDER, "site"));
  writeFileSync(join(FOLDER, "secret.txt"), "outside");
  writeFileSync(join(FOLDER, "site", "index.html"), "<p>theirs</p>");
  writeFileSync(join(FOLDER, "site", "app.js"), "let a;");
  symlinkSync(FOLDER, join(FOLDER, "site", "up"));
  world = await startWorld("embedded", {
    toml: `trusted_proxies = ["127.0.0.1"]\n[limits]\nmax_body = 2000\nconnects_per_second_per_ip = 1\n`,
  });
});

afterAll(async () => {
  await world.stop();
  rmSync(FOLDER, { recursive: true, force: true });
});

/** Sends bytes unchanged, which `fetch` would normalize. Returns the whole response. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

/** A trusted proxy forwards a client of this machine. */
const HERE = { "x-forwarded-for": "127.0.0.1" };

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${world.channel.url}${path}`, { headers: { ...HERE, ...headers }, redirect: "manual" });
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return fetch(`${world.channel.url}${path}`, {
    method: "POST",
    headers: { ...JSON_BODY, ...HERE, ...headers },
    body: text,
  });
}

describe("HTTP requests", () => {
  test("the documented call for a token works as written", async () => {
    const curl = Bun.spawn([
      ...["curl", "-s", "-X", "POST", `${world.channel.url}/token`],
      ...["-H", "Content-Type: application/json", "-d", '{"channel": "system", "id": "client1"}'],
    ]);
    expect(JSON.parse(await new Response(curl.stdout).text())).toEqual({
      id: "client1",
      channel: "system",
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
    });
  });

  test("HEAD returns the headers of GET and no body", async () => {
    for (const path of ["/", "/phoenix.js", "/health"]) {
      const length = (await (await get(path)).arrayBuffer()).byteLength;
      const head = `HEAD ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`;
      const [headers = "", body] = (await raw(world.channel.port, head)).split("\r\n\r\n");
      expect(headers).toStartWith("HTTP/1.1 200");
      expect(headers.toLowerCase()).toContain(`content-length: ${length}`);
      expect(body).toBe("");
    }
  });

  test("wrong paths, methods and body sizes return 404, 405 and 413 in JSON", async () => {
    for (const [response, status] of [
      [await get("/nothing"), 404],
      [await get("/token"), 405],
      [await post("/health", "{}"), 405],
      [await post("/token", { channel: "a", pad: "x".repeat(2000) }), 413],
      [await post("/token", "x".repeat(5_000_000)), 413],
      [await post("/token", "{"), 400],
    ] as const) {
      expect(response.status).toBe(status);
      expect(await response.json()).toEqual({ error: expect.any(String), code: expect.any(String) });
    }
    expect((await get("/token")).headers.get("allow")).toBe("POST, OPTIONS");
  });

  test("rejects an unknown Host on every path and before an upgrade", async () => {
    for (const path of ["/", "/token", "/health", "/phoenix.js", "/admin.html", "/websocket"]) {
      const response = await get(path, { host: "evil.example" });
      expect(response.status).toBe(403);
      expect((await response.json()) as unknown).toEqual({
        error: expect.stringContaining("allowed_hosts"),
        code: "host_not_allowed",
      });
    }
    const socket = `${world.channel.url.replace("http", "ws")}/websocket?vsn=2.0.0`;
    expect((await openWebSocket(socket, { host: "evil.example:2025" }, () => {})).status).toBe(403);
    expect((await get("/health", { host: `localhost:${world.channel.port}` })).status).toBe(200);
  });

  test("rejects origins of other sites and accepts those of this machine", async () => {
    const socket = `${world.channel.url.replace("http", "ws")}/websocket?vsn=2.0.0`;
    for (const origin of ["http://evil.example", "null"]) {
      expect((await openWebSocket(socket, { origin }, () => {})).status).toBe(403);
      const response = await post("/token", { channel: "system" }, { origin });
      expect(response.status).toBe(403);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    const origin = "http://localhost:5173";
    const allowed = await post("/token", { channel: "system" }, { origin });
    expect(allowed.status).toBe(200);
    expect(allowed.headers.get("access-control-allow-origin")).toBe(origin);
    const opened = await openWebSocket(socket, { origin }, () => {});
    expect(opened.status).toBe(101);
    if ("cut" in opened) opened.cut();
  });

  test("limits each client behind a trusted proxy separately, and does not limit loopback", async () => {
    const socket = `${world.channel.url.replace("http", "ws")}/websocket?vsn=2.0.0`;
    const statuses = async (count: number, headers: Record<string, string>) => {
      const seen: number[] = [];
      for (let at = 0; at < count; at++) {
        const opened = await openWebSocket(socket, headers, () => {});
        seen.push(opened.status);
        if ("cut" in opened) opened.cut();
      }
      return seen.filter((status) => status === 429).length;
    };
    // The client sent the left address itself.
    expect(await statuses(40, { "x-forwarded-for": "127.0.0.1, 192.0.2.1" })).toBeGreaterThan(2);
    expect(await statuses(5, { "x-forwarded-for": "192.0.2.2" })).toBe(0);
    expect(await statuses(30, { "x-forwarded-for": "127.0.0.1" })).toBe(0);
    // A proxy request without a client address may be for any client.
    expect(await statuses(40, {})).toBeGreaterThan(2);
  });

  test("ten wrong secrets on any endpoint lock out one address", async () => {
    const from = (address: string) => ({ "x-forwarded-for": address });
    const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
    for (let at = 0; at < 5; at++) {
      const asked = await post(
        "/token",
        { channel: "admin" },
        { ...from("192.0.2.9"), ...bearer("wrong-one") },
      );
      expect(asked.status).toBe(401);
      expect((await post("/admin/sign_in", { secret: "wrong-one" }, from("192.0.2.9"))).status).toBe(401);
    }
    const right = await post("/admin/sign_in", { secret: ADMIN_SECRET }, from("192.0.2.9"));
    expect(right.status).toBe(429);
    expect((await post("/admin/sign_in", { secret: ADMIN_SECRET }, from("192.0.2.10"))).status).toBe(204);
  });

  test("accepts the administrator's cookie for admin on an upgrade of the same origin until sign-out", async () => {
    const entered = await post("/admin/sign_in", { secret: ADMIN_SECRET }, { "x-forwarded-proto": "https" });
    const set = entered.headers.get("set-cookie") ?? "";
    expect(set).toEndWith("; HttpOnly; SameSite=Strict; Secure");
    const cookie = set.split(";")[0] ?? "";
    const origin = world.channel.url;
    const joinAdmin = async (headers: Record<string, string>) => {
      const client = await world.connect({ headers });
      return (await client.join("admin", {})).status;
    };
    expect(await joinAdmin({ cookie, origin })).toBe("ok");
    expect(await joinAdmin({ cookie })).toBe("error");
    expect(await joinAdmin({ cookie, origin: "http://localhost:5173" })).toBe("error");
    expect(await joinAdmin({ origin })).toBe("error");
    expect((await post("/admin/sign_out", "", { cookie })).status).toBe(403);
    expect((await post("/admin/sign_out", "", { cookie, origin })).status).toBe(204);
    expect(await joinAdmin({ cookie, origin })).toBe("error");
  });

  test("logs no secret and no token", async () => {
    const token = ((await (await post("/token", { channel: "system" })).json()) as { token: string }).token;
    await get(`/nothing?userToken=${token}`);
    await get(`/websocket?userToken=${token}`, { host: "evil.example" });
    const log = world.channel.output();
    for (const secret of [SECRET, ADMIN_SECRET, "wrong-one", token]) expect(log).not.toContain(secret);
  });
});

describe("a static folder and a prefix", () => {
  let prefixed: World;
  beforeAll(async () => {
    prefixed = await startWorld("embedded", {
      toml: `base_path = "/hub"\nstatic_path = "${join(FOLDER, "site")}"\nallowed_hosts = ["hub.example"]\n`,
    });
  });
  afterAll(() => prefixed.stop());

  const ask = async (path: string, host = "127.0.0.1") => {
    const text = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const [head = "", body = ""] = (await raw(prefixed.channel.port, text)).split("\r\n\r\n");
    return { status: Number(head.split(" ")[1]), head: head.toLowerCase(), body };
  };

  test("the folder replaces the built-in pages, below the prefix only", async () => {
    expect(await ask("/hub/")).toMatchObject({ status: 200, body: "<p>theirs</p>" });
    expect((await ask("/hub/app.js")).head).toContain("content-type: text/javascript");
    expect(await ask("/hub/health")).toMatchObject({ status: 200 });
    expect(await ask("/hub?x=1")).toMatchObject({
      status: 308,
      head: expect.stringContaining("location: /hub/?x=1"),
    });
    for (const path of ["/", "/app.js", "/health", "/hubapp.js", "/hubhealth", "/hu"]) {
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
    }
  });

  test("serves no path outside the folder", async () => {
    const ways = ["..", "%2e%2e", "..%2f.", "%2e%2e%5c", "..\\", "up", "app.js/..", "%00", "..;", "....//"];
    for (const way of ways) {
      const { body } = await ask(`/hub/${way}/secret.txt`);
      expect(body).not.toContain("outside");
      expect((await ask(`/hub/../${way}/secret.txt`)).body).not.toContain("outside");
    }
  });

  test("accepts a Host listed in allowed_hosts", async () => {
    expect((await ask("/hub/health", "hub.example")).status).toBe(200);
    expect((await ask("/hub/health", "other.example")).status).toBe(403);
  });
});
