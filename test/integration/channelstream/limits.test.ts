import { expect, test } from "bun:test";
import { eventually } from "../phoenix-client.ts";
import { type Json, list, object, type Rig, startRig } from "./rig.ts";

async function withRig(settings: string, toml: string, work: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await startRig(settings, "embedded", toml);
  try {
    await work(rig);
  } finally {
    await rig.stop();
  }
}

/** The figures of the server. */
const figures = (rig: Rig): Promise<Json> => rig.ok("POST", "/admin/admin.json", {});

function say(channel: string, text: string): Json {
  return { user: "sys", channel, message: { text } };
}

test("beyond the limit a user replaces the one inactive for longest, never a connected one", () =>
  withRig("max_users = 3\ngc_conns_after = 4", "", async (rig) => {
    await rig.connect("old", []);
    await rig.connect("older", []);
    const ear = await rig.listen(await rig.connect("here", []));
    // Nobody is inactive yet.
    expect((await rig.call("POST", "/connect", { username: "early" })).status).toBe(503);
    await eventually(async () => (await figures(rig)).total_connections === 1, "the end of the others");
    await rig.ok("POST", "/user_state", { user: "old", user_state: {} });
    await rig.connect("new", []);
    const known = async (user: string) => (await rig.call("POST", "/user_state", { user })).status === 200;
    expect(await Promise.all(["old", "older", "here", "new"].map(known))).toEqual([true, false, true, true]);
    await ear.close();
  }));

test("users without a connection are forgotten after gc_users_after, state and all", () =>
  withRig("gc_users_after = 4", "", async (rig) => {
    const ear = await rig.listen(await rig.connect("here", [], { user_state: { a: 1 } }));
    const id = await rig.connect("gone", [], { user_state: { a: 1 } });
    await rig.call("GET", `/disconnect?conn_id=${id}`);
    expect((await rig.call("POST", "/user_state", { user: "gone" })).status).toBe(200);
    // To ask for one user is a sign of life, and to ask for the figures is none.
    await eventually(async () => (await figures(rig)).remembered_user_count === 1, "the end of the user");
    expect((await rig.call("POST", "/user_state", { user: "gone" })).body).toEqual({
      user: ["Unknown user"],
    });
    expect((await rig.call("POST", "/user_state", { user: "here" })).status).toBe(200);
    expect(await rig.ok("POST", "/connect", { username: "gone" })).toMatchObject({ state: {} });
    await ear.close();
  }));

test("a channel too many takes the place of one longest empty; where all are in use it is refused", () =>
  withRig("max_channels = 2", "", async (rig) => {
    await rig.ok("POST", "/channel_config", { first: {}, second: {} });
    await rig.connect("ann", ["second", "third"]);
    const { channels } = await rig.ok("POST", "/info");
    expect(Object.keys(object(channels)).sort()).toEqual(["second", "third"]);
    const refused = await rig.call("POST", "/connect", { username: "bob", channels: ["fourth"] });
    expect([refused.status, Object.keys(object(refused.body))]).toEqual([503, ["error", "code"]]);
    // Nothing of it was done.
    expect((await rig.call("POST", "/user_state", { user: "bob" })).status).toBe(422);
    const both = { second: {}, fourth: {}, fifth: {} };
    expect((await rig.call("POST", "/channel_config", both)).status).toBe(503);
  }));

test("a history is as long as max_history at most, whatever its channel asks for", () =>
  withRig("max_history = 3", "", async (rig) => {
    await rig.ok("POST", "/channel_config", { room: { store_history: true, history_size: 1_000_000 } });
    await rig.send(...["1", "2", "3", "4", "5"].map((text) => say("room", text)));
    const { history, settings } = await rig.info("room");
    expect(list(history).map(({ message }) => object(message).text)).toEqual(["3", "4", "5"]);
    expect(object(settings).history_size).toBe(1_000_000);
  }));

test("a user's state has its size", () =>
  withRig("max_user_state = 100", "", async (rig) => {
    await rig.connect("ann", [], { user_state: { a: "x".repeat(80) } });
    const more = await rig.call("POST", "/user_state", { user: "ann", user_state: { b: "x".repeat(30) } });
    expect([more.status, Object.keys(object(more.body))]).toEqual([422, ["user_state"]]);
    await rig.ok("POST", "/user_state", { user: "ann", user_state: { a: "", b: "x".repeat(30) } });
    expect(
      (await rig.call("POST", "/connect", { username: "b", fresh_user_state: { a: "x".repeat(101) } }))
        .status,
    ).toBe(422);
  }));

test("what is kept for history and catching up stays within max_stored, the oldest going first", () =>
  withRig('max_stored = "1MiB"', "", async (rig) => {
    const config = { store_history: true, history_size: 1000 };
    const names = Array.from({ length: 20 }, (_, n) => `room-${n}`);
    await rig.ok("POST", "/channel_config", Object.fromEntries(names.map((name) => [name, config])));
    const text = "x".repeat(5_000);
    for (const name of names) await rig.send(...Array.from({ length: 50 }, () => say(name, text)));
    const { channels } = await rig.ok("POST", "/info");
    const kept = names.map((name) => list(object(object(channels)[name]).history).length);
    const total = kept.reduce((sum, one) => sum + one, 0);
    expect(total).toBeGreaterThan(50);
    expect(total * 5_000).toBeLessThan(1 << 20);
    expect(kept.slice(0, 10)).toEqual(Array(10).fill(0));
    expect(kept.at(-1)).toBe(50);
  }));

test("connections count before a client listens on them", () =>
  withRig("", "[limits]\nmax_connections = 2", async (rig) => {
    await rig.connect("ann", []);
    await rig.connect("ann", []);
    expect((await rig.call("POST", "/connect", { username: "ann" })).status).toBe(503);
  }));

test("a body of 10 MB is refused in words, and the server goes on", () =>
  withRig("", "", async (rig) => {
    const raw = JSON.stringify([say("room", "x".repeat(10_000_000))]);
    const { status, body } = await rig.call("POST", "/message", undefined, { raw });
    expect([status, Object.keys(object(body))]).toEqual([413, ["error", "code"]]);
    const { status: unsigned } = await rig.call("POST", "/message", undefined, { raw, signature: null });
    expect(unsigned).toBe(403);
    await rig.connect("ann", ["room"]);
  }));

test("a body that is no text, or no JSON, is refused in words", () =>
  withRig("", "", async (rig) => {
    for (const raw of [
      "",
      "{",
      "NaN",
      '[{"user":"a","channel":"b","message":{"n":NaN}}]',
      // Deeper than can be printed again.
      `[{"user":"a","channel":"b","message":{"n":${"[".repeat(200_000)}${"]".repeat(200_000)}}}]`,
      new Uint8Array([0xff, 0xfe]),
    ]) {
      for (const [method, path] of [
        ["POST", "/connect"],
        ["POST", "/message"],
        ["PATCH", "/message"],
        ["DELETE", "/message"],
        ["POST", "/disconnect"],
      ] as const) {
        expect((await rig.call(method, path, undefined, { raw })).status).toBe(400);
      }
    }
    const half = '[{"user":"\\ud800","channel":"b"}]';
    const { status, body } = await rig.call("POST", "/message", undefined, { raw: half });
    expect([status, body]).toEqual([422, { "0": { user: ["Not a valid utf-8 string."] } }]);
  }));

test("a client that does not read is disconnected, and no other client waits for it", () =>
  withRig("", '[limits]\nmax_payload = "64KiB"\nmax_buffered_per_client = "256KiB"', async (rig) => {
    const slow = await rig.connect("slow", ["room"]);
    const quick = await rig.listen(await rig.connect("quick", ["room"]));
    const { port } = rig.world.channel;
    let opened = () => {};
    const open = new Promise<void>((resolve) => {
      opened = resolve;
    });
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open(it) {
          const head = `GET /ws?conn_id=${slow} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade`;
          it.write(
            `${head}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
          );
        },
        data(it) {
          it.pause();
          opened();
        },
      },
    });
    await open;
    const text = "x".repeat(60_000);
    for (let sent = 0; sent < 400; sent += 10) {
      await rig.send(...Array.from({ length: 10 }, () => say("room", text)));
      // Else this one would be slow too where this process is.
      for (let got = 0; got < 10; got++) await quick.inbox.next();
    }
    expect((await rig.info("room")).total_connections).toBe(1);
    socket.terminate();
  }));
