import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { blocksOf } from "../integration/page-blocks.ts";
import { eventually, mint } from "../integration/phoenix-client.ts";
import { SECRET, startWorld, type World } from "../integration/world.ts";
import { launchChromium } from "./chromium.ts";

/* The code of docs/clients.md for browsers, in one. Only the address is replaced. */

const ROOT = join(import.meta.dir, "../..");

let world: World;
let browser: Browser;
let folder: string;

beforeAll(async () => {
  // Where the packages react and phoenix are found.
  const cache = join(ROOT, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, "clients-page-"));
  world = await startWorld("redis", { args: ["--static-path", folder] });
  browser = await launchChromium();
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Opens a page that runs a module which finds a token in `token`; resolves to what `output` shows after a message. */
async function shownBy(name: string, source: string): Promise<string> {
  writeFileSync(join(folder, `${name}.js`), source);
  const built = await Bun.build({
    entrypoints: [join(folder, `${name}.js`)],
    outdir: join(folder, "built"),
    define: { "process.env.NODE_ENV": '"production"' },
  });
  expect(built.success).toBe(true);
  const token = mint({ id: "ann", channel: "room:7" }, SECRET);
  writeFileSync(
    join(folder, `${name}.html`),
    `<!doctype html><div id="root"></div><output></output><script>const token = "${token}"; const show = (shown) => { document.querySelector("output").textContent = JSON.stringify(shown); };</script><script type="module" src="/built/${name}.js"></script>`,
  );
  const page = await browser.newPage();
  await page.goto(`${world.channel.url}/${name}.html`);
  const output = page.locator("output");
  // A message that comes before the join is answered is for nobody.
  const shown = await eventually(async () => {
    await world.backend.publish("to:room:7:news", '{"n":1}');
    const text = (await output.textContent()) ?? "";
    return text.includes('"n":1') ? text : null;
  }, `what ${name} shows`);
  await page.close();
  return shown;
}

test("TypeScript: the client joins and receives", async () => {
  const [code = ""] = blocksOf("clients.md", "ts");
  const placed = code.replace("wss://channel.example.org", `ws://${new URL(world.channel.url).host}`);
  expect(await shownBy("plain", `${placed}\nfunction currentToken() { return token; }`)).toBe('{"n":1}');
});

test("React: the hook joins and receives", async () => {
  const hook = blocksOf("clients.md", "js").find((block) => block.includes('from "react"')) ?? "";
  const source = `${hook}
    import { createElement } from "react";
    import { createRoot } from "react-dom/client";
    import { Socket } from "phoenix";
    const socket = new Socket("/socket", { params: { userToken: token } });
    socket.connect();
    function News() {
      const { latest, status } = useChannel(socket, "room:7", "news");
      if (status === "joined" && latest !== null) show([status, latest]);
      return null;
    }
    createRoot(document.querySelector("#root")).render(createElement(News));`;
  expect(await shownBy("react", source)).toBe('["joined",{"n":1}]');
});
