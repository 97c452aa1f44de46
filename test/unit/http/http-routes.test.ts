import { describe, expect, test } from "bun:test";
import { ORIGIN, SECRET, testHttp } from "./http.ts";

describe("pages", () => {
  test("are there, with their scripts and styles, and say what they may do", async () => {
    const { ask } = testHttp();
    for (const [path, script] of [
      ["/", "index.js"],
      ["/admin.html", "admin.js"],
      ["/api-explorer", "explorer.js"],
    ] as const) {
      const page = await ask(path);
      const text = await page.text();
      expect(page.headers.get("content-type")).toBe("text/html;charset=utf-8");
      expect(text).toContain(`src="${script}"`);
      expect(text).not.toMatch(/ on[a-z]+="|<script>|style="/);
      const policy = page.headers.get("content-security-policy") ?? "";
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).toContain("connect-src 'self' ws://127.0.0.1:2025 wss://127.0.0.1:2025");
      expect(policy).not.toContain("unsafe");
      const code = await ask(`/${script}`);
      expect(code.headers.get("content-type")).toBe("text/javascript;charset=utf-8");
      expect((await code.text()).length).toBeGreaterThan(1000);
    }
    expect((await ask("/style.css")).headers.get("content-type")).toBe("text/css;charset=utf-8");
  });

  test("no page makes markup of text, and all their scripts and styles are there", async () => {
    const { ask } = testHttp();
    for (const path of ["/", "/admin.html", "/api-explorer"]) {
      const page = await ask(path);
      const policy = page.headers.get("content-security-policy") ?? "";
      expect(policy).toContain("require-trusted-types-for 'script'");
      const text = await page.text();
      const parts = [...text.matchAll(/<(?:script src|link rel="stylesheet" href)="([^"]+)"/g)];
      expect(parts.length).toBeGreaterThan(1);
      for (const [, part] of parts) expect((await ask(`/${part}`)).status).toBe(200);
    }
  });

  test("a host that is none can't widen the policy", async () => {
    const { ask } = testHttp();
    const page = await ask("/", { headers: { host: "x; script-src *" } });
    expect(page.headers.get("content-security-policy")).toContain("connect-src 'self'; form-action");
  });

  test("/phoenix.js defines Phoenix as the documentation uses it", async () => {
    const text = await (await testHttp().ask("/phoenix.js")).text();
    const Phoenix: unknown = new Function(`${text}; return Phoenix;`)();
    expect(Phoenix).toMatchObject({ Socket: expect.any(Function), Presence: expect.any(Function) });
    expect(text).toContain("Copyright (c) 2014 Chris McCord");
  });

  test("a matching ETag gets 304", async () => {
    const { ask } = testHttp();
    for (const path of ["/", "/phoenix.js", "/style.css"]) {
      const tag = (await ask(path)).headers.get("etag") ?? "";
      const again = await ask(path, { headers: { "if-none-match": tag } });
      expect(again.status).toBe(304);
      expect(await again.text()).toBe("");
      expect((await ask(path, { headers: { "if-none-match": '"other"' } })).status).toBe(200);
    }
  });
});

describe("health", () => {
  test("names the bus, and says when it is the embedded one", async () => {
    const { ask, bus } = testHttp();
    expect(await (await ask("/health")).json()).toEqual({ status: "up", bus: "redis" });
    bus.kind = "embedded";
    expect(await (await ask("/health")).json()).toMatchObject({
      bus: "embedded",
      note: expect.stringContaining("embedded bus is in use"),
    });
  });

  test("is up while the bus is away, and ready is not, and says why", async () => {
    const { ask, bus } = testHttp();
    const ready = await ask("/ready");
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ status: "ready", bus: "redis", gaps: 0 });
    bus.state = { live: false, detail: "cannot reach 127.0.0.1:6379: connection refused", gaps: 1, since: 0 };
    expect((await ask("/health")).status).toBe(200);
    const away = await ask("/ready");
    expect(away.status).toBe(503);
    expect(await away.json()).toEqual({
      code: "bus_away",
      error: "The bus is disconnected: cannot reach 127.0.0.1:6379: connection refused.",
    });
  });

  test("ready is over when the server is about to stop", async () => {
    const { ask, bus } = testHttp();
    bus.draining = true;
    expect((await ask("/ready")).status).toBe(503);
    expect((await ask("/health")).status).toBe(200);
  });
});

describe("addresses and methods", () => {
  test("an unknown address is 404 in JSON", async () => {
    const { ask } = testHttp();
    for (const path of [
      "/nothing",
      "/Token",
      "/token/",
      "//",
      "/__proto__",
      "/constructor",
      "/public/index.html",
      "x",
    ]) {
      const response = await ask(path.startsWith("/") ? path : `/${path}`);
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({ error: expect.any(String), code: expect.any(String) });
    }
  });

  test("a wrong method is 405 with what is allowed", async () => {
    const { ask } = testHttp();
    for (const [path, method, allow] of [
      ["/token", "GET", "POST, OPTIONS"],
      ["/token", "DELETE", "POST, OPTIONS"],
      ["/health", "POST", "GET, HEAD"],
      ["/ready", "OPTIONS", "GET, HEAD"],
      ["/", "PUT", "GET, HEAD"],
      ["/admin/sign_out", "GET", "POST"],
      ["/admin/sign_in", "DELETE", "GET, POST, HEAD"],
    ] as const) {
      const response = await ask(path, { method });
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe(allow);
      expect(await response.json()).toEqual({ error: expect.any(String), code: expect.any(String) });
    }
  });

  test("HEAD is GET", async () => {
    const { ask } = testHttp();
    for (const path of ["/", "/health", "/phoenix.js"]) {
      expect((await ask(path, { method: "HEAD" })).status).toBe(200);
    }
  });

  test("the prefix without its slash leads to the page", async () => {
    const { ask } = testHttp({ basePath: "/hub" });
    const response = await ask("?name=alice");
    expect(response.status).toBe(308);
    expect(response.headers.get("location")).toBe("/hub/?name=alice");
  });

  test("every answer forbids guessing its type", async () => {
    const { ask } = testHttp();
    for (const path of ["/", "/nothing", "/health", "/phoenix.js"]) {
      expect((await ask(path)).headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("an internal error is logged; the response does not contain its message", async () => {
    const http = testHttp({ jwtExpirationSecs: Number.NaN });
    const { status, answer } = await http.token({ channel: "system" });
    expect(status).toBe(500);
    expect(answer).toEqual({
      error: "Internal error: see the server's log.",
      code: "internal_error",
    });
    expect(http.logged.length).toBe(1);
  });
});

describe("signing in", () => {
  const signIn = (http: ReturnType<typeof testHttp>, body: string, headers: Record<string, string> = {}) =>
    http.ask("/admin/sign_in", { method: "POST", body, headers });

  test("takes the secret and gives a cookie", async () => {
    const response = await signIn(testHttp(), JSON.stringify({ secret: SECRET }), { origin: ORIGIN });
    expect(response.status).toBe(204);
    expect(response.headers.get("set-cookie")).toMatch(/^channel_session=.*HttpOnly; SameSite=Strict$/);
  });

  test("refuses anything else, clearly", async () => {
    const http = testHttp();
    expect((await signIn(http, "{")).status).toBe(400);
    for (const body of ["{}", "[]", '{"secret":7}', '{"__proto__":{"secret":"x"}}']) {
      expect((await signIn(http, body)).status).toBe(422);
    }
    const wrong = await signIn(http, '{"secret":"wrong"}');
    expect(wrong.status).toBe(401);
    expect(wrong.headers.get("set-cookie")).toBeNull();
  });

  test("is not for pages of other origins, allowed elsewhere or not", async () => {
    const http = testHttp({ allowedOrigins: "*" });
    for (const origin of ["http://evil.example", "null", "http://localhost:3000"]) {
      const response = await signIn(http, JSON.stringify({ secret: SECRET }), { origin });
      expect(response.status).toBe(403);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
  });

  test("by link is a page that sends the code; the code works once, from that page only", async () => {
    const http = testHttp({ adminSecretGenerated: true, basePath: "/hub" });
    const { signInCode: code } = http.admin;
    const link = `/admin/sign_in?code=${code}`;
    for (const headers of [{}, { "sec-fetch-site": "none" }, { "sec-fetch-site": "cross-site" }]) {
      const page = await http.ask(link, { headers: { accept: "text/html", ...headers } });
      expect(page.status).toBe(200);
      expect(page.headers.get("set-cookie")).toBeNull();
      expect(page.headers.get("referrer-policy")).toBe("no-referrer");
      expect(page.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      const text = await page.text();
      // It sends the code by itself only where no other page led there.
      expect(text.includes("data-at-once")).toBe(
        "sec-fetch-site" in headers && headers["sec-fetch-site"] === "none",
      );
      expect(text).not.toContain(code ?? "");
    }
    const program = await http.ask(link);
    expect([program.status, (await program.json()).code]).toEqual([403, "own_pages_only"]);
    const redeem = (headers: Record<string, string>) => signIn(http, JSON.stringify({ code }), headers);
    for (const headers of [
      {},
      { origin: "null" },
      { origin: "http://evil.example" },
      { origin: ORIGIN, "sec-fetch-site": "cross-site" },
    ]) {
      expect((await redeem(headers)).status).toBe(403);
    }
    const redeemed = await redeem({ origin: ORIGIN, "sec-fetch-site": "same-origin" });
    expect(redeemed.status).toBe(204);
    expect(redeemed.headers.get("set-cookie")).toStartWith("channel_session=");
    const again = await redeem({ origin: ORIGIN });
    expect(again.status).toBe(401);
    expect(JSON.stringify(await again.json())).not.toContain(code ?? "");
    const used = await http.ask(link);
    expect([used.status, (await used.json()).code]).toEqual([401, "sign_in_link_used"]);
    expect((await http.ask("/admin/sign_in")).headers.get("location")).toBe("/hub/admin.html");
  });

  test("and out again: the cookie is taken back and no longer good", async () => {
    const http = testHttp();
    const entered = await signIn(http, JSON.stringify({ secret: SECRET }));
    const cookie = entered.headers.get("set-cookie")?.split(";")[0] ?? "";
    const out = (headers: Record<string, string>) => http.ask("/admin/sign_out", { method: "POST", headers });
    expect((await out({ cookie })).status).toBe(403);
    expect((await out({ cookie, origin: "http://evil.example" })).status).toBe(403);
    const left = await out({ cookie, origin: ORIGIN });
    expect(left.status).toBe(204);
    expect(left.headers.get("set-cookie")).toStartWith("channel_session=; ");
    expect((await http.token({ channel: "admin" }, { cookie, origin: ORIGIN })).status).toBe(401);
  });
});
