import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { launchChromium, type OpenPage, openPage } from "../browser/chromium.ts";
import { ADMIN_SECRET, startWorld, type World } from "./world.ts";

const NASTY = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";

let world: World;
let browser: Browser;

beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld("embedded"), launchChromium()]);
}, 30_000);

afterAll(async () => {
  await browser?.close();
  await world?.stop();
});

async function testClient(query: string): Promise<OpenPage> {
  const opened = await openPage(browser);
  await opened.page.goto(`${world.channel.url}/${query}`);
  await opened.page.waitForSelector('#state[data-state="good"]');
  return opened;
}

test("the test client joins, shows the clock, who is there, messages and the reply to a push", async () => {
  const pushed = await world.backend.listen("from:system:custom_event");
  const alice = await testClient("?name=alice");
  const somebody = await testClient("");
  const { page } = alice;
  await alice.watched(async () => {
    expect(await page.textContent("#state")).toBe("Joined as alice");
    await page.waitForSelector("#users li:nth-child(2)");
    expect((await page.locator("#users li").allTextContents()).sort()).toEqual(["alice", "anonymous"]);
    await page.waitForFunction(() => /^\d+$/.test(document.getElementById("counter")?.textContent ?? ""));
    expect(await page.textContent("#time")).toMatch(/\d/);

    await page.press("#payload", "Control+Enter");
    await page.waitForSelector('#reply[data-state="good"]');
    expect((await pushed.next()).payload.toString()).toBe('{"message":"Hello"}');
    await page.fill("#payload", "{");
    await page.click("#send");
    expect(await page.textContent("#reply")).toContain("not JSON");

    await world.backend.publish("to:system:update", '{"el":"uptime","value":"3 days"}');
    await page.waitForSelector("#messages li");
    expect(await page.locator("#messages li .event").allTextContents()).toEqual(["update"]);
    expect(await page.textContent("#messages li .text")).toBe('{"el":"uptime","value":"3 days"}');
    await somebody.close();
    await page.waitForFunction(() => document.querySelectorAll("#users li").length === 1);
    expect(alice.console.all).toEqual([]);
    expect(alice.sockets.filter((address) => address.includes("oken"))).toEqual([]);
  });
  await alice.close();
}, 20_000);

test("nothing that comes over the wire is markup on the page", async () => {
  const nasty = await testClient(`?name=${encodeURIComponent(NASTY)}`);
  await nasty.watched(async () => {
    await world.backend.publish("to:system:<b>bold<", JSON.stringify({ text: NASTY }));
    await world.backend.publish("to:system:raw", NASTY);
    await nasty.page.waitForSelector("#messages li:nth-child(2)");
    expect(await nasty.page.locator("main img, main script, main b").count()).toBe(0);
    expect(await nasty.page.locator("#users li").first().textContent()).toBe(NASTY);
    expect(await nasty.page.textContent("#messages li .text")).toContain("<img");
    expect(await nasty.page.title()).toBe("Channel: test client");
    expect(nasty.console.all).toEqual([]);
  });
  await nasty.close();
}, 20_000);

test("the pages fit a phone and follow the system's colours", async () => {
  for (const path of ["/", "/admin.html"]) {
    const { page, close } = await openPage(browser);
    await page.setViewportSize({ width: 360, height: 640 });
    const paper: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await page.goto(world.channel.url + path);
      paper.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    }
    expect(paper[0]).not.toBe(paper[1] ?? "");
    await close();
  }
}, 20_000);

test("the admin page takes the secret, shows channels and agents live, and lets go again", async () => {
  const admin = await openPage(browser);
  const { page } = admin;
  await admin.watched(async () => {
    await page.goto(`${world.channel.url}/admin.html`);
    await page.waitForSelector("#door:not([hidden])");
    await page.fill("#secret", "wrong");
    await page.press("#secret", "Enter");
    await page.waitForSelector('#refusal[data-state="bad"]');
    expect(await page.textContent("#refusal")).toBe("That is not the admin secret.");
    await page.fill("#secret", ADMIN_SECRET);
    await page.press("#secret", "Enter");
    await page.waitForSelector("#inside:not([hidden])");
    const names = () => page.locator("#channels summary code").allTextContents();
    await page.waitForFunction(() => document.querySelectorAll("#channels summary").length === 3);
    expect(await names()).toEqual(["admin", "phoenix", "system"]);

    const client = await world.connect();
    await client.join("room:<i>7", { token: world.token("room:<i>7") });
    await page.waitForSelector("#channels li:nth-child(4)");
    expect(await names()).toEqual(["admin", "phoenix", "room:<i>7", "system"]);
    const agents = page.locator("#channels > li").nth(2).locator(".agents li");
    await page.locator("#channels summary").nth(2).click();
    expect(await agents.first().textContent()).toMatch(/^\w+:room:<i>7:/);
    client.socket.cut();
    await page.waitForFunction(() => document.querySelectorAll("#channels summary").length === 3);

    await page.reload();
    await page.waitForSelector("#inside:not([hidden])");
    await page.click("#sign-out");
    await page.waitForSelector("#door:not([hidden])");
    expect(await page.context().cookies()).toEqual([]);
    await page.reload();
    await page.waitForSelector("#door:not([hidden])");
  });
  await admin.close();
}, 20_000);
