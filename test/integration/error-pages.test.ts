/** Errors are pages for a browser's address bar, and JSON for programs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startWorld, type World } from "./world.ts";

/** As a browser sends it with a navigation. */
const NAVIGATION = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: 'base_path = "/hub"\npublic_url = "http://hub.example/hub"\n',
  });
}, 60_000);
afterAll(() => world?.stop());

function ask(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Response> {
  return fetch(`${new URL(world.channel.url).origin}${path}`, { method, headers, redirect: "manual" });
}

const ERRORS: readonly (readonly [string, number, string])[] = [
  ["/hub/none", 404, "not_found"],
  ["/elsewhere", 404, "not_found"],
  ["/hub/a%5cb", 400, "bad_path"],
  ["/hub/a//b//c", 400, "bad_path"],
  ["/hub/token", 405, "method_not_allowed"],
  ["/hub/websocket", 426, "websocket_only"],
  ["/hub/api/stats", 401, "not_signed_in"],
  ["/hub/admin/sign_in?code=x", 401, "sign_in_link_used"],
];

describe.each(ERRORS)("%s", (path, status, code) => {
  test("is a page for a browser", async () => {
    const page = await ask(path, { accept: NAVIGATION });
    expect(page.status).toBe(status);
    expect(page.headers.get("content-type")).toBe("text/html;charset=utf-8");
    expect(page.headers.get("cache-control")).toBe("no-store");
    const policy = page.headers.get("content-security-policy") ?? "";
    expect(policy).toStartWith("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    const text = await page.text();
    // The policy permits this style only, and no script.
    const style = /<style>([^<]*)<\/style>/.exec(text)?.[1] ?? "";
    expect(policy).toContain(new Bun.CryptoHasher("sha256").update(style).digest("base64"));
    expect(text).not.toContain("<script");
    expect(text).toContain(code);
    expect(text).toContain('href="/hub/admin.html"');
  });

  test("is JSON for a program", async () => {
    for (const headers of [{}, { accept: "*/*" }, { accept: "application/json, text/html;q=0.5" }]) {
      const answer = await ask(path, headers);
      expect(answer.status).toBe(status);
      expect(await answer.json()).toEqual({ error: expect.any(String), code });
    }
  });
});

test("a request that changes something gets JSON", async () => {
  const answer = await ask("/hub/none", { accept: NAVIGATION }, "POST");
  expect(await answer.json()).toMatchObject({ code: "not_found" });
});

test("what the client sent is text on the page, and a wrong host gets no links", async () => {
  const host = "evil<b>.example";
  const page = await ask("/hub/", { accept: NAVIGATION, host });
  expect(page.status).toBeGreaterThanOrEqual(400);
  const text = await page.text();
  expect(text).not.toContain("<b>");
  expect(text).not.toContain("<a ");
  const named = await ask("/hub/", { accept: NAVIGATION, host: "other.example" });
  expect(named.status).toBe(403);
  expect(await named.text()).toContain("&quot;other.example&quot;");
  const path = await ask("/hub/%22%3E%3Cimg%20src=x%3E", { accept: NAVIGATION });
  expect(await path.text()).not.toContain("img");
});

test("pages and health checks are as they were", async () => {
  const health = await ask("/hub/health", { accept: NAVIGATION });
  expect(await health.json()).toMatchObject({ status: "up" });
  expect((await ask("/hub/admin/sign_in", { accept: NAVIGATION })).headers.get("location")).toBe(
    "/hub/admin.html",
  );
});
