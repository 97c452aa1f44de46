import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { launchChromium, type OpenPage, openPage, type PageFrame } from "../../browser/chromium.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import type { Inbox } from "../inbox.ts";
import { connectPhoenix, eventually } from "../phoenix-client.ts";
import { findPython } from "../python.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { type Backend, backendOn, type Heard } from "../world.ts";
import type { Program } from "./program.ts";
import { type Installation, installTangram, startTangram } from "./tangram-process.ts";

/*
 * Tangram as it is on PyPI, its own backend and its own page, with this hub in place of its Channel service: both read
 * one tangram.toml, the hub takes a port of its own, and `public_url` sends the pages there.
 */

const SECRET = "a-secret-that-two-services-share-here";

describe("a Tangram installation", () => {
  let redis: RedisProcess;
  let backend: Backend;
  let heard: Inbox<Heard>;
  let installation: Installation;
  let hubPort: number;
  let hub: ChannelProcess;
  let tangram: Program;
  let browser: Browser;
  let open: OpenPage;

  const startHub = (): Promise<ChannelProcess> =>
    startChannel({ args: ["--config", installation.config, "--port", String(hubPort)] });

  /** The text of an element of the page, once it is another than `before`. */
  const shown = async (id: string, before: string): Promise<string> => {
    const place = open.page.locator(`.system-widget #${id}`);
    return eventually(
      async () => {
        const text = (await place.textContent({ timeout: 5000 }))?.trim() ?? "";
        return text !== "" && text !== before ? text : null;
      },
      `another text in #${id} than ${JSON.stringify(before)}`,
    ).then((text) => text ?? "");
  };

  beforeAll(async () => {
    redis = await startRedis();
    backend = backendOn(redis.port);
    heard = await backend.listen("*");
    hubPort = freePort();
    installation = installTangram({
      redisUrl: redis.url,
      jwtSecret: SECRET,
      publicUrl: `http://127.0.0.1:${hubPort}`,
    });
    hub = await startHub();
    tangram = await startTangram(findPython("tangram_system"), installation);
    browser = await launchChromium();
    open = await openPage(browser);
    await open.page.goto(installation.url);
    await open.watched(() => shown("uptime", ""));
  }, 40_000);

  afterAll(async () => {
    await browser?.close();
    // As an operator would, at the keyboard.
    await tangram?.stop("SIGINT");
    await hub?.stop();
    backend?.stop();
    await redis?.stop();
    installation?.remove();
  }, 20_000);

  test("shows clock and uptime on its page, fed through this hub alone", () =>
    open.watched(async () => {
      const uptime = await shown("uptime", "");
      const clock = await shown("info_time", "");
      const laterUptime = await shown("uptime", uptime);
      const laterClock = await shown("info_time", clock);
      expect(uptime).toMatch(/^\d+:\d\d:\d\d$/);
      expect(laterUptime > uptime).toBe(true);
      expect(clock).toMatch(/^\d\d:\d\d:\d\d Z$/);
      expect(laterClock).toMatch(/^\d\d:\d\d:\d\d Z$/);

      expect(open.sockets.length).toBe(1);
      const socket = new URL(open.sockets[0] ?? "");
      expect(socket.host).toBe(`127.0.0.1:${hubPort}`);
      const frame = `[null,null,"system","update-node",{"el":"uptime","value":"${laterUptime}"}]`;
      await open.frames.until((each) => each.direction === "received" && each.data === frame, frame);
      // Its own service still runs; no page may have come to it.
      expect(open.requests.filter((each) => each.includes(`:${installation.servicePort}`))).toEqual([]);
      expect(tangram.lines.all.filter((line) => line.includes("new connection connected"))).toEqual([]);
    }));

  test("has its page's own frames answered", async () => {
    const frames: unknown[][] = open.frames.all
      .filter((each) => !each.data.startsWith("base64:"))
      .map((each) => [each.direction, ...[JSON.parse(each.data)].flat()]);
    const join = frames.find((each) => each[0] === "sent" && each[4] === "phx_join");
    const reply = frames.find((each) => each[0] === "received" && each[4] === "phx_reply");
    const [, joinRef, ref, topic] = join ?? [];
    expect(topic).toBe("system");
    const agent = expect.stringMatching(new RegExp(`^[^:]+:system:${String(joinRef)}$`));
    expect(reply).toEqual([
      "received",
      joinRef,
      ref,
      "system",
      "phx_reply",
      { status: "ok", response: { id: agent } },
    ]);
    const events = frames.filter((each) => each[0] === "received").map((each) => each[4]);
    expect(events.slice(0, 2)).toEqual(["phx_reply", "presence_state"]);
    expect(events).not.toContain("phx_error");
  });

  test("receives what its page pushes: the join without its token, the map's bounds unchanged", () =>
    open.watched(async () => {
      const join = heard.all.find((each) => each.name === "from:system:phx_join");
      expect(join?.payload.toString()).toBe("{}");
      heard.take();

      await open.page.mouse.move(640, 400);
      await open.page.mouse.wheel(0, -300);
      const bounds = await heard.until((each) => each.name === "from:system:bound-box", "bounds");
      // The page may have sent others before: it sends them whenever its map changes.
      const isSent = ({ direction, data }: PageFrame): boolean =>
        direction === "sent" && data.endsWith(`,"bound-box",${bounds.payload.toString()}]`);
      await open.frames.until(isSent, "the frame with the same bounds");
      expect(JSON.parse(bounds.payload.toString())).toEqual({
        connectionId: expect.any(String),
        northEastLat: expect.any(Number),
        northEastLng: expect.any(Number),
        southWestLat: expect.any(Number),
        southWestLng: expect.any(Number),
        selectedEntities: [],
      });
    }));

  test("sends presence to its backends", async () => {
    const first = await eventually(
      () => heard.all.find((each) => each.name === "to:system:presence_diff"),
      "a diff",
    );
    const diff: unknown = JSON.parse(first?.payload.toString() ?? "null");
    const page = { metas: [{ phx_ref: expect.any(String), online_at: expect.stringMatching(/^\d+$/) }] };
    expect(diff).toEqual({ joins: { [await connectionId()]: page }, leaves: {} });
  });

  test("takes tokens of either service at the other", async () => {
    for (const [issuer, joined] of [
      [installation.serviceUrl, hub.url],
      [hub.url, installation.serviceUrl],
    ] as const) {
      const client = await connectPhoenix(joined);
      const reply = await client.join("system", { token: await tokenOf(issuer, "system") });
      expect(reply.status).toBe("ok");
      await client.socket.close();
    }
  });

  test("has its page back after a restart of the hub", () =>
    open.watched(async () => {
      expect(await hub.stop()).toBe(0);
      const sockets = open.sockets.length;
      hub = await startHub();
      await eventually(() => open.sockets.length > sockets, "another socket");
      // By now the page shows what it had received before.
      const frozen = await shown("uptime", "");
      expect(await shown("uptime", frozen)).toMatch(/^\d+:\d\d:\d\d$/);
      expect(open.sockets.every((each) => new URL(each).host === `127.0.0.1:${hubPort}`)).toBe(true);
    }));

  test("receives the leave of its page", async () => {
    const id = await connectionId();
    heard.take();
    await open.close();
    const left = await heard.until(
      (each) => each.name === "to:system:presence_diff" && each.payload.includes('"leaves":{"'),
      "a leave",
    );
    expect(JSON.parse(left.payload.toString())).toMatchObject({
      joins: {},
      leaves: { [id]: { metas: [{}] } },
    });
  });

  /** The page's user: the `id` of its token, which it names in its messages too. */
  const connectionId = async (): Promise<string> => {
    const token = new URL(open.sockets[0] ?? "").searchParams.get("userToken") ?? "";
    const claims: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    if (typeof claims === "object" && claims !== null && "id" in claims) return String(claims.id);
    throw new Error(`a token without id: ${token}`);
  };
});

async function tokenOf(service: string, channel: string): Promise<string> {
  const answer = await fetch(`${service}/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ channel }),
  });
  const body: unknown = await answer.json();
  if (typeof body === "object" && body !== null && "token" in body && typeof body.token === "string") {
    return body.token;
  }
  throw new Error(`no token from ${service}: ${answer.status}`);
}
