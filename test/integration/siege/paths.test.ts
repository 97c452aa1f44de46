import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labelled, readMetrics } from "../../soak/samples.ts";
import { askRaw, type RawAnswer } from "../raw-http.ts";
import { ADMIN_SECRET, startWorld, type World } from "../world.ts";

/** Paths are sent as raw bytes, because every client normalizes them. */
const BASE = "/hub";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `base_path = "${BASE}"\npublic_url = "https://hub.example${BASE}"\n[channelstream]\nsecret = "a-secret-of-channelstream-long-enough"\n`,
  });
});
afterAll(() => world.stop());

function get(path: string, headers = "", method = "GET"): Promise<RawAnswer> {
  const authorization = `Authorization: Bearer ${ADMIN_SECRET}\r\n`;
  const head = `${method} ${path} HTTP/1.1\r\nHost: hub.example\r\n${authorization}${headers}\r\n`;
  return askRaw(world.channel.port, Buffer.from(head, "latin1"));
}

const UPGRADE =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/** Every entry, with its status for a valid path. */
const ENTRIES: readonly (readonly [name: string, path: string, headers: string, status: number])[] = [
  ["a page", "/", "", 200],
  ["metrics", "/metrics", "", 200],
  ["the API", "/api/stats", "", 200],
  ["a socket", "/websocket", UPGRADE, 101],
  ["a group socket", "/websocket/", `${UPGRADE}Authorization: Bearer x\r\n`, 101],
  ["a long poll", "/longpoll?vsn=2.0.0", "", 200],
  ["Channelstream", "/connect", "", 405],
];

/** Prefixes that make a proxy read another path. */
const DISGUISES = [
  "/x\\..",
  "/x%5c..",
  "/x%5C..%5C..",
  "\\",
  "/x/..",
  "/x/%2e%2E",
  "/.",
  "/x%2f..",
  "/x%2F%2e%2e",
  "/x%00",
  "/x%0d%0a",
  "/x%1f",
  "/x%7f",
  "/x%c2%85",
  "/x#/..",
];

describe("a path that a proxy may read as another", () => {
  test.each([...ENTRIES])("%s: 400 for every such prefix", async (_name, path, headers, status) => {
    expect((await get(BASE + path, headers)).status).toBe(status);
    for (const disguise of DISGUISES) {
      for (const asked of [`${disguise}${BASE}${path}`, `${BASE}${disguise}${path}`]) {
        const answer = await get(asked, headers);
        expect([asked, answer.status]).toEqual([asked, 400]);
      }
    }
  });

  test("also at the end of a path, in every method: an error text, counted, before any other rule", async () => {
    const counted = async () =>
      labelled(await readMetrics(world.channel.url + BASE), "channel_refused_total", "http_400");
    const before = await counted();
    let asked = 0;
    for (const end of ["\\", "%5c", "%2f", "%00", "%09", "/..", "/%2e", "#x"]) {
      for (const method of ["GET", "POST", "DELETE", "OPTIONS", "PATCH"]) {
        const answer = await get(`${BASE}/metrics${end}`, "Content-Length: 0\r\n", method);
        expect([end, method, answer.status]).toEqual([end, method, 400]);
        expect(JSON.parse(answer.body)).toEqual({
          error: expect.stringMatching(/^[^\\%]+\.$/),
          code: "bad_path",
        });
        asked++;
      }
    }
    expect(await counted()).toBe(before + asked);
    // A foreign host is refused by another rule: the path is checked first.
    const foreign = `GET ${BASE}/x\\..\\metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n`;
    expect((await askRaw(world.channel.port, foreign)).status).toBe(400);
  });

  test("the absolute form of a request is read as the same path", async () => {
    expect((await get(`http://hub.example${BASE}/metrics`)).status).toBe(200);
    expect((await get(`http://hub.example${BASE}/x\\..\\metrics`)).status).toBe(400);
  });

  test("refuses too many parts, and empty parts", async () => {
    expect((await get(`${BASE}${"/x".repeat(15)}`)).status).toBe(404);
    expect((await get(`${BASE}${"/x".repeat(16)}`)).status).toBe(400);
    expect((await get(`${BASE}//a//metrics`)).status).toBe(400);
    expect((await get(`///metrics`)).status).toBe(400);
    expect((await get(`${BASE}//metrics`)).status).toBe(404);
    // Clients send this for an address with a slash at its end.
    expect((await get(`${BASE}//websocket`, UPGRADE)).status).toBe(101);
    expect((await get(`${BASE}//longpoll?vsn=2.0.0`)).status).toBe(200);
  });

  test("accepts such bytes in a query, and encoded in a name only", async () => {
    expect((await get(`${BASE}/?name=\\..%5c%2f%00`)).status).toBe(200);
    const channel = `${BASE}/api/channels/a%2Fb%25%20c%c3%a9`;
    expect((await get(channel)).status).toBe(404);
    expect(JSON.parse((await get(channel)).body)).not.toMatchObject({ code: "not_found" });
    expect((await get(`${BASE}/api/bans/a%2fb`, "", "DELETE")).status).not.toBe(400);
    for (const path of [
      "/api%2fchannels/a",
      "/api/channels%2fa",
      "/api/connections/a%2fb",
      "/x/api/channels/a%2fb",
    ]) {
      expect([path, (await get(BASE + path)).status]).toEqual([path, 400]);
    }
    for (const name of ["a%5cb", "a\\b", "a%0ab", "%2e%2e"]) {
      expect((await get(`${BASE}/api/channels/${name}`)).status).toBe(400);
    }
  });
});

describe("public_url", () => {
  test("accepts its host only", async () => {
    const asked = async (host: string) =>
      (await askRaw(world.channel.port, `GET ${BASE}/health HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status;
    expect(await asked("hub.example")).toBe(200);
    expect(await asked("evil.example")).toBe(403);
    expect(await asked("127.0.0.1:1")).toBe(200);
  });
});

test("listening beyond loopback with listed origins, refuses the origin of a foreign host name", async () => {
  const beyond = await startWorld("embedded", {
    toml: `host = "0.0.0.0"\npublic_url = "https://hub.example"\nallowed_origins = ["https://shop.example"]\n`,
  });
  const { port } = beyond.channel;
  const from = (host: string, origin: string, rest: string, head: string, body = "") =>
    askRaw(port, `${head} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n${rest}\r\n${body}`);
  const body = '{"channel":"room"}';
  const length = `Content-Length: ${body.length}\r\n`;
  const status = async (host: string, origin: string) => [
    (await from(host, origin, length, "POST /token", body)).status,
    (await from(host, origin, UPGRADE, "GET /websocket")).status,
    JSON.parse((await from(host, origin, "", "GET /longpoll?vsn=2.0.0")).body).status,
  ];
  expect(await status("evil.example", "http://evil.example")).toEqual([403, 403, 403]);
  expect(await status("evil.example:2025", "https://shop.example")).toEqual([403, 403, 403]);
  expect(await status("hub.example", "https://evil.example")).toEqual([403, 403, 403]);
  expect(await status("hub.example", "https://shop.example")).toEqual([200, 101, 410]);
  expect(await status("hub.example", "https://hub.example")).toEqual([200, 101, 410]);
  await beyond.stop();
});
