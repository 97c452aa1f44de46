import type { Browser, Page } from "playwright-core";
import { ADMIN_SECRET, startWorld, type World } from "../../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "../chromium.ts";

/** Markup that changes the title if a page inserts it as HTML. */
export const NASTY = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";

/** A server, a backend and a browser. */
export interface Stage {
  readonly world: World;
  readonly browser: Browser;
  /** The test client, joined to `system`. */
  client(query?: string): Promise<OpenPage>;
  /** The administration page, signed in, at a fragment such as `#/channels`. */
  admin(hash?: string): Promise<OpenPage>;
  stop(): Promise<void>;
}

export async function startStage(toml = ""): Promise<Stage> {
  const [world, browser] = await Promise.all([startWorld("embedded", { toml }), launchChromium()]);
  return {
    world,
    browser,
    async client(query = "") {
      const opened = await openPage(browser);
      await opened.page.goto(`${world.channel.url}/${query}`);
      await opened.watched(() => opened.page.waitForSelector('.joined .state[data-state="good"]'));
      return opened;
    },
    async admin(hash = "") {
      const opened = await openPage(browser);
      await opened.page.goto(`${world.channel.url}/admin.html${hash}`);
      await opened.watched(() => signIn(opened.page));
      return opened;
    },
    async stop() {
      await browser.close();
      await world.stop();
    },
  };
}

/** @param secret the admin secret, or an API key */
export async function signIn(page: Page, secret = ADMIN_SECRET): Promise<void> {
  await page.waitForSelector("#sign-in-section:not([hidden])");
  await page.fill("#secret", secret);
  await page.press("#secret", "Enter");
  await page.waitForSelector("#content:not([hidden])");
  await page.waitForSelector('#state[data-state="good"]');
}
