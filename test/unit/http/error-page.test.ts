import { expect, test } from "bun:test";
import { Rejection } from "../../../src/auth/rejection.ts";
import { asPage } from "../../../src/http/error-page.ts";
import { reject } from "../../../src/http/json-response.ts";

test("an error that ends by itself has a link to try again, and says when", async () => {
  const limited = await asPage(reject(new Rejection(429, "too_many_connects", "Slow down.", 7)), "/hub");
  expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "7"]);
  const text = await limited.text();
  expect(text).toContain("Try again in 7 s.");
  // Pages of this server would be rejected too.
  expect(text.match(/href="[^"]*"/g)).toEqual(['href=""']);
  const draining = await asPage(reject(new Rejection(503, "shutting_down", "Stopping.")), "/hub");
  expect((await draining.text()).match(/href="[^"]*"/g)).toEqual([
    'href=""',
    'href="/hub/"',
    'href="/hub/admin.html"',
  ]);
});

test("a reason with markup is shown as text", async () => {
  const page = await asPage(reject(new Rejection(403, "host_not_allowed", "<script>1</script>\"'&")), "");
  expect(await page.text()).toContain("&lt;script&gt;1&lt;/script&gt;&quot;&#x27;&amp;");
});

test("other responses stay as they are", async () => {
  for (const response of [new Response("not JSON", { status: 500 }), Response.json({}), new Response(null)]) {
    expect(await asPage(response, "")).toBe(response);
  }
});
