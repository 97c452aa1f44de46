import { expect, test } from "bun:test";
import { openWebSocket } from "../websocket.ts";
import { list, object, startRig } from "./rig.ts";

test("a stopping server closes sockets with 1012, answers polls, and publishes who parted", async () => {
  const rig = await startRig("wake_connections_after = 20", "redis");
  try {
    const heard = await rig.world.backend.listen("to:room:*");
    await rig.ok("POST", "/channel_config", { room: { notify_presence: true } });
    const ear = await rig.listen(await rig.connect("ann", ["room"]));
    const polled = fetch(`${rig.url}/listen?conn_id=${await rig.connect("bob", ["room"])}`);
    await rig.send({ user: "sys", channel: "room", pm_users: ["ann"], message: {} });
    await ear.inbox.until(({ type }) => type === "message");
    expect(await rig.world.channel.stop()).toBe(0);
    expect(await ear.closed).toBe(1012);
    expect(await (await polled).json()).toEqual([]);
    const parted = new Set<unknown>();
    while (parted.size < 2) {
      const { payload } = await heard.until(({ payload }) => payload.includes('"parted"'), "parted");
      parted.add(object(JSON.parse(payload.toString())).user);
    }
    expect(parted).toEqual(new Set(["ann", "bob"]));
  } finally {
    await rig.stop();
  }
}, 20_000);

test("one that vanished without a word is forgotten, and one in no channel at all stays", async () => {
  const rig = await startRig("", "embedded", "[limits]\nidle_timeout = 5");
  try {
    await rig.ok("POST", "/channel_config", { room: { notify_presence: true } });
    const stays = await rig.listen(await rig.connect("ann", []));
    const watcher = await rig.listen(await rig.connect("watcher", ["room"]));
    const id = await rig.connect("gone", ["room"]);
    expect(object((await watcher.inbox.next()).message).action).toBe("joined");
    // A socket that answers no ping.
    const { port } = rig.world.channel;
    const request = `GET /ws?conn_id=${id} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade`;
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (it) =>
          void it.write(
            `${request}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
          ),
        data() {},
      },
    });
    const parted = await watcher.inbox.until(({ message }) => object(message).action === "parted", "parted");
    expect(parted.user).toBe("gone");
    socket.terminate();
    await Bun.sleep(2500);
    await rig.send({ user: "sys", pm_users: ["ann"], message: { text: "still here" } });
    expect(object((await stays.inbox.next()).message).text).toBe("still here");
  } finally {
    await rig.stop();
  }
}, 30_000);

test("whatever a client sends is a sign of life and nothing else", async () => {
  const rig = await startRig();
  try {
    const id = await rig.connect("ann", ["room"]);
    const socket = await openWebSocket(`${rig.url}/ws?conn_id=${id}`, {}, () => {});
    if (!("sendText" in socket)) throw new Error("no socket");
    for (const text of ["", "x", "[]", '{"type":"message"}', "\u0000".repeat(1000)]) socket.sendText(text);
    for (let n = 0; n < 5000; n++) socket.sendText("flood");
    await rig.send({ user: "sys", channel: "room", message: {} });
    expect(await rig.info("room")).toMatchObject({ total_connections: 1 });
    expect(rig.world.channel.lines.filter(({ level }) => level === "error")).toEqual([]);
  } finally {
    await rig.stop();
  }
});

test("an administrator sees connections of this protocol, and ends them", async () => {
  const rig = await startRig();
  try {
    const headers = { authorization: "Bearer the-administrator-of-these-tests-and-nobody-else" };
    await rig.ok("POST", "/channel_config", { room: { notify_presence: true } });
    const watcher = await rig.listen(await rig.connect("watcher", ["room"]));
    const ear = await rig.listen(await rig.connect("ann", ["room"]));
    const answer: unknown = await (await fetch(`${rig.url}/api/connections`, { headers })).json();
    const found = list(object(answer).connections).find(({ users }) => JSON.stringify(users) === '["ann"]');
    expect(found).toMatchObject({ protocol: "channelstream", channels: ["room"] });
    const ended = await fetch(`${rig.url}/api/connections/${String(found?.id)}`, {
      method: "DELETE",
      headers,
    });
    expect(ended.ok).toBe(true);
    await watcher.inbox.until(({ message }) => object(message).action === "parted", "parted");
    await ear.closed;
  } finally {
    await rig.stop();
  }
}, 20_000);
