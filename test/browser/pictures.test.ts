import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { launchChromium } from "./chromium.ts";

/* The drawing of docs/, as a browser lays it out. */

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 30_000);

afterAll(() => browser?.close());

test("concepts.svg: every text lies inside its box or between boxes, across no edge", async () => {
  const svg = readFileSync(join(import.meta.dir, "../../docs/concepts.svg"), "utf8");
  const page = await browser.newPage();
  await page.setContent(svg);
  const across = await page.evaluate(() => {
    const boxes = [...document.querySelectorAll("rect")].map((box) => box.getBoundingClientRect());
    return [...document.querySelectorAll("svg > text")].flatMap((text) => {
      const { left, right, top, bottom } = text.getBoundingClientRect();
      const crosses = boxes.some((box) => {
        const inside = left > box.left + 2 && right < box.right - 2 && top >= box.top && bottom <= box.bottom;
        const outside = right < box.left - 2 || left > box.right + 2 || bottom < box.top || top > box.bottom;
        return !inside && !outside;
      });
      return crosses ? [text.textContent] : [];
    });
  });
  expect(across).toEqual([]);
  await page.close();
});
