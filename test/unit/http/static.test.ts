import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testHttp } from "./http.ts";

let top = "";
let http = testHttp();

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), "channel-static-"));
  const root = join(top, "site");
  mkdirSync(join(root, "deep", "er"), { recursive: true });
  mkdirSync(join(top, "site-secret"));
  writeFileSync(join(top, "secret.txt"), "secret");
  writeFileSync(join(top, "site-secret", "a.txt"), "secret");
  const files: Record<string, string> = {
    "index.html": "<p>theirs</p>",
    "app.js": "let a = 1;",
    "data.json": "{}",
    "with space.txt": "space",
    "ü.css": "p{}",
    "table.csv": "a,b",
    "module.wasm": "",
    "picture.svg": "<svg/>",
    "deep/index.html": "<p>deep</p>",
    "deep/er/file.txt": "deeper",
    "..hidden": "dots",
    "100%.txt": "percent",
    health: "theirs",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  symlinkSync(join(top, "secret.txt"), join(root, "link.txt"));
  symlinkSync(top, join(root, "up"));
  symlinkSync(join(root, "app.js"), join(root, "inner.js"));
  symlinkSync(join(root, "nowhere"), join(root, "broken"));
  symlinkSync("loop", join(root, "loop"));
  Bun.spawnSync(["mkfifo", join(root, "pipe")]);
  http = testHttp({ staticPath: root, basePath: "/hub" });
});

afterAll(() => rmSync(top, { recursive: true, force: true }));

describe("static_path", () => {
  test("is served whole, with right content types", async () => {
    for (const [path, type, text] of [
      ["/", "text/html;charset=utf-8", "<p>theirs</p>"],
      ["/index.html", "text/html;charset=utf-8", "<p>theirs</p>"],
      ["/app.js", "text/javascript;charset=utf-8", "let a = 1;"],
      ["/inner.js", "text/javascript;charset=utf-8", "let a = 1;"],
      ["/data.json", "application/json;charset=utf-8", "{}"],
      ["/with%20space.txt", "text/plain;charset=utf-8", "space"],
      ["/%C3%BC.css", "text/css;charset=utf-8", "p{}"],
      ["/table.csv", "text/csv;charset=utf-8", "a,b"],
      ["/module.wasm", "application/wasm", ""],
      ["/picture.svg", "image/svg+xml", "<svg/>"],
      ["/deep/", "text/html;charset=utf-8", "<p>deep</p>"],
      ["/deep/er/file.txt", "text/plain;charset=utf-8", "deeper"],
      ["/100%25.txt", "text/plain;charset=utf-8", "percent"],
    ] as const) {
      const response = await http.ask(path);
      expect([path, response.status, response.headers.get("content-type")]).toEqual([path, 200, type]);
      expect(await response.text()).toBe(text);
    }
  });

  test("has no way out", async () => {
    const out = [
      "..",
      "..hidden",
      "deep/..hidden",
      "%2e%2e",
      "%2E.",
      ".%2e",
      "..%2f",
      "%2e%2e%2f",
      "..\\",
      "..%5c",
      "%252e%252e",
      "deep/../..",
      "up",
    ];
    for (const way of out) {
      for (const target of ["secret.txt", "site-secret/a.txt"]) {
        const response = await http.ask(`/${way}/${target}`);
        expect([way, response.status]).toEqual([way, 404]);
        expect(await response.text()).not.toContain("secret");
      }
    }
    const others = [
      "/link.txt",
      "/up/",
      "/up",
      "/%00",
      "/app.js%00.txt",
      "/%",
      "/%ff",
      "/%2fetc/passwd",
      "//etc/passwd",
    ];
    for (const path of [
      ...others,
      "/etc/passwd",
      "/broken",
      "/loop",
      "/pipe",
      `/${"a".repeat(5000)}`,
      "/app.js/",
      "/.",
    ]) {
      expect([path, (await http.ask(path)).status]).toEqual([path, 404]);
    }
  });

  test("a folder without its slash leads to the page in it, none without a page", async () => {
    const response = await http.ask("/deep?x=1");
    expect(response.status).toBe(308);
    expect(response.headers.get("location")).toBe("/hub/deep/?x=1");
    expect((await http.ask("/deep/er/")).status).toBe(404);
  });

  test("takes the place of our pages, not of what works behind them", async () => {
    expect((await http.ask("/index.js")).status).toBe(404);
    expect(await (await http.ask("/health")).json()).toMatchObject({ status: "up" });
    expect(await (await http.ask("/admin.html")).text()).toContain("Administration");
    expect(await (await http.ask("/phoenix.js")).text()).toContain("Phoenix");
    expect((await http.token({ channel: "system" })).status).toBe(200);
    const bare = testHttp({ staticPath: join(top, "site", "deep", "er") });
    expect((await bare.ask("/")).status).toBe(404);
  });

  test("knows who has a file already, and takes GET only", async () => {
    const tag = (await http.ask("/app.js")).headers.get("etag") ?? "";
    expect((await http.ask("/app.js", { headers: { "if-none-match": tag } })).status).toBe(304);
    const posted = await http.ask("/app.js", { method: "POST" });
    expect(posted.status).toBe(405);
    expect(posted.headers.get("allow")).toBe("GET, HEAD");
  });
});
