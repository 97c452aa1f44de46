import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connectPhoenix } from "./phoenix-client.ts";
import { openWebSocket } from "./websocket.ts";
import { startWorld, type World } from "./world.ts";

/** Origins that apps and extensions send. */
const APPS = [
  "capacitor://localhost",
  "ionic://localhost",
  "tauri://localhost",
  "app://-",
  "file://",
  "vscode-webview://1a2B",
  "chrome-extension://cfhdojbkjhnklbpkdaibdccddilifddb",
  "moz-extension://0f9a3cf2-1d5e-4f3c-9d2f-0b7b1c9b8a55",
];
const SITE = "https://app.example";

/** Origins that some parsers confuse with a listed one. */
const LOOKALIKES = [
  "http://127.0.0.1\\@evil.example",
  "http://127.0.0.1\\.evil.example",
  "http:\\\\127.0.0.1",
  "http:127.0.0.1",
  "http://evil.example@127.0.0.1",
  "http://127.0.0.1/",
  "http://127.0.0.1?x",
  "http://127.0.0.1#x",
  "http://127.1",
  "HTTP://127.0.0.1",
  "http://0x7f000001",
  "https://app.example\\@evil.example",
  "https://APP.example",
  "https://app.example:443",
  "https://app.example/",
  "capacitor://localhost/",
  "capacitor://localhost.evil.example",
  "capacitor://LOCALHOST",
  "capacitor://",
];

let listed: World;
let byHost: World;

beforeAll(async () => {
  const list = JSON.stringify([...APPS, SITE]);
  listed = await startWorld("embedded", {
    toml: `allowed_origins = ${list}\n[channelstream]\nsecret = "a-secret-of-web-applications"\n`,
  });
  byHost = await startWorld("embedded", {
    toml: `[channelstream]\nsecret = "a-secret-of-web-applications"\nallow_cors = ["127.0.0.1", "tauri://localhost"]\n`,
  });
});

afterAll(async () => {
  await listed.stop();
  await byHost.stop();
});

/** The response of each endpoint to a page of this origin: status, and whether CORS lets the page read it. */
async function responses({ channel }: World, origin: string): Promise<Record<string, unknown>> {
  const { url } = channel;
  const socket = await openWebSocket(
    `${url.replace("http", "ws")}/websocket?vsn=2.0.0`,
    { origin },
    () => {},
  );
  if ("cut" in socket) socket.cut();
  const json = { origin, "content-type": "application/json" };
  const token = await fetch(`${url}/token`, { method: "POST", headers: json, body: '{"channel":"system"}' });
  const poll = await fetch(`${url}/longpoll?vsn=2.0.0`, { headers: { origin } });
  const polled: unknown = await poll.json();
  const readable = (response: Response) => response.headers.get("access-control-allow-origin") === origin;
  return {
    socket: socket.status,
    token: [token.status, readable(token)],
    poll: [Object(polled).status, readable(poll)],
  };
}

const ACCEPTED = { socket: 101, token: [200, true], poll: [410, true] };
const REJECTED = { socket: 403, token: [403, false], poll: [403, false] };

describe("comparison of origins", () => {
  test.each([...APPS, SITE])("accepts the listed origin %s on every endpoint", async (origin) => {
    expect(await responses(listed, origin)).toEqual(ACCEPTED);
    const client = await connectPhoenix(listed.channel.url, { transport: "longpoll", headers: { origin } });
    await client.fence();
    client.socket.cut();
  });

  test.each(LOOKALIKES)("rejects %s, which only resembles a listed origin", async (origin) => {
    expect(await responses(listed, origin)).toEqual(REJECTED);
    expect(await responses(byHost, origin)).toEqual(REJECTED);
  });

  test("rejects origins of apps that are not listed", async () => {
    for (const origin of APPS) expect(await responses(byHost, origin)).toEqual(REJECTED);
    expect(await responses(byHost, "http://127.0.0.1:5173")).toEqual(ACCEPTED);
  });

  test("applies to Channelstream's own list", async () => {
    const status = async (world: World, origin: string) => {
      const url = `${world.channel.url.replace("http", "ws")}/ws?conn_id=none`;
      return (await openWebSocket(url, { origin }, () => {})).status;
    };
    // The connection is unknown: only an accepted origin gets this error.
    const passed = await status(byHost, "http://127.0.0.1:5173");
    expect(passed).not.toBe(403);
    expect(await status(byHost, "tauri://localhost")).toBe(passed);
    expect(await status(listed, "ionic://localhost")).toBe(passed);
    for (const origin of ["ionic://127.0.0.1", "http://127.0.0.1\\@evil.example", "http://127.0.0.1/"]) {
      expect([origin, await status(byHost, origin)]).toEqual([origin, 403]);
    }
  });
});
