import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type Application, HOOK_SECRET, startApplication } from "./application.ts";
import type { Transport } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

/*
 * Which pages the application gets the cookies of.
 */

const LISTED = "https://app.example";

describe.each([
  ["any", '"*"'],
  ["listed", `["${LISTED}"]`],
])("with allowed_origins %s", (_, allowed) => {
  let application: Application;
  let world: World;
  beforeAll(async () => {
    application = startApplication();
    world = await startWorld("embedded", {
      toml: `hook_secret = "${HOOK_SECRET}"
allowed_origins = ${allowed}
[channels."room:*"]
authorize = "${application.url}"
authorize_headers = ["cookie", "authorization", "x-user"]
`,
    });
  });
  afterEach(() => world.cutClients());
  afterAll(async () => {
    await world?.stop();
    await application?.stop();
  });

  const sent = { cookie: "session=1", authorization: "Basic YTpi", "x-user": "alice" };

  /** The headers that the application gets of a page. */
  async function forwarded(transport: Transport, headers: Readonly<Record<string, string>>) {
    const client = await world.connect({ transport, headers: { ...sent, ...headers } });
    expect((await client.join("room:1")).status).toBe("ok");
    const { headers: got } = await application.asked.next();
    return Object.fromEntries(
      Object.keys(sent).flatMap((name) => (got.has(name) ? [[name, got.get(name)]] : [])),
    );
  }

  for (const transport of ["websocket", "longpoll"] as const) {
    test(`${transport}: those of this host's pages, and of programs`, async () => {
      const { port } = new URL(world.channel.url);
      const others = allowed === '"*"' ? ["http://127.0.0.1:8000", "http://localhost:1"] : [];
      for (const origin of [`http://127.0.0.1:${port}`, ...others]) {
        expect(await forwarded(transport, { origin })).toEqual(sent);
      }
      expect(await forwarded(transport, {})).toEqual(sent);
    });

    test(`${transport}: none of another page, unless its origin is listed`, async () => {
      const isListed = allowed !== '"*"';
      expect(await forwarded(transport, { origin: LISTED })).toEqual(isListed ? sent : {});
      if (!isListed) {
        for (const origin of ["https://evil.example", "null"])
          expect(await forwarded(transport, { origin })).toEqual({});
      }
      expect(await forwarded(transport, { "sec-fetch-site": "cross-site" })).toEqual({});
    });
  }
});
