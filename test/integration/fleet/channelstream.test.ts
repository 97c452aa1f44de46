import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ChannelProcess } from "../channel-process.ts";
import { call, type Ear, type Json, list, object, openSocket, SECRET } from "../channelstream/rig.ts";
import { enterGroups } from "../groups/groups-client.ts";
import { mint } from "../phoenix-client.ts";
import { SECRET as JWT_SECRET } from "../world.ts";
import { type FleetWorld, startFleet, TOML } from "./fleet-world.ts";

/*
 * Channelstream and event groups on two servers.
 */

let fleet: FleetWorld;
let one: ChannelProcess;
let two: ChannelProcess;
let count = 0;

beforeAll(async () => {
  fleet = await startFleet(["one", "two"], { toml: `${TOML}[channelstream]\nsecret = "${SECRET}"\n` });
  [one, two] = fleet.servers as [ChannelProcess, ChannelProcess];
}, 60_000);
afterAll(() => fleet?.stop());

function fresh(word: string): string {
  count++;
  return `${word}-${count}`;
}

async function ok(server: ChannelProcess, method: string, path: string, body: unknown): Promise<unknown> {
  const answer = await call(server.url, method, path, body);
  if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function listen(
  server: ChannelProcess,
  username: string,
  channels: readonly string[],
  more: Json = {},
): Promise<Ear> {
  const { conn_id } = object(await ok(server, "POST", "/connect", { username, channels, ...more }));
  return openSocket(server.url, String(conn_id));
}

async function send(server: ChannelProcess, message: Json): Promise<Json> {
  const [sent] = list(await ok(server, "POST", "/message", [{ user: "sys", ...message }]));
  return sent ?? {};
}

/** Resolves when all messages sent by a server so far have arrived: returns those before the mark. */
async function before(ear: Ear, from: ChannelProcess, user: string): Promise<Json[]> {
  const mark = fresh("mark");
  await send(from, { pm_users: [user], message: { mark } });
  await ear.inbox.until(({ message }) => object(message ?? {}).mark === mark, "the mark");
  return ear.inbox.all.slice(0, -1).filter(({ message }) => object(message ?? {}).mark === undefined);
}

test("a private message reaches its users on every server, with its edit and its deletion", async () => {
  const [ann, eve] = [fresh("ann"), fresh("eve")];
  const here = await listen(one, ann, []);
  const there = await listen(two, ann, []);
  const other = await listen(two, eve, []);
  const sent = await send(one, { pm_users: [ann], message: { n: 1 } });
  const edit = { uuid: sent.uuid, pm_users: [ann] };
  await ok(one, "PATCH", "/message", [{ ...edit, message: { n: 2 } }]);
  for (const ear of [here, there]) {
    expect((await ear.inbox.next()).message).toEqual({ n: 1 });
    expect(await ear.inbox.next()).toMatchObject({ type: "message:edit", message: { n: 2 } });
  }
  await ok(two, "DELETE", "/message", [edit]);
  for (const ear of [here, there]) {
    expect(await ear.inbox.next()).toMatchObject({ type: "message:delete", uuid: String(sent.uuid) });
  }
  expect(await before(other, one, eve)).toEqual([]);
  for (const ear of [here, there, other]) await ear.close();
});

test("a private message of another server waits for a user who is between two connections", async () => {
  const ann = fresh("ann");
  const answer = object(await ok(two, "POST", "/connect", { username: ann, channels: [] }));
  const bob = fresh("bob");
  const watcher = await listen(two, bob, []);
  await send(one, { pm_users: [ann], message: { missed: 1 } });
  await before(watcher, one, bob);
  await watcher.close();
  const ear = await openSocket(two.url, String(answer.conn_id));
  expect(await ear.inbox.next()).toMatchObject({ message: { missed: 1 }, catchup: true });
  await ear.close();
});

test("pm_users and exclude_users of a channel hold on every server, and nothing of it is on the bus", async () => {
  const room = fresh("room");
  const [ann, bob] = [fresh("ann"), fresh("bob")];
  const heard = await fleet.backend.listen(`to:${room}:*`);
  const [annThere, bobThere] = [await listen(two, ann, [room]), await listen(two, bob, [room])];
  // The channel is not open on the first server.
  const only = await send(one, { channel: room, pm_users: [ann], message: { only: "ann" } });
  const except = await send(one, { channel: room, exclude_users: [ann], message: { except: "ann" } });
  for (const { uuid } of [only, except]) {
    // The caller names no users: those who saw the message see the edit.
    await ok(one, "PATCH", "/message", [{ uuid, channel: room, message: { edited: true } }]);
    await ok(one, "DELETE", "/message", [{ uuid, channel: room }]);
  }
  const types = ["message", "message:edit", "message:delete"];
  const shown = (messages: readonly Json[]) => messages.map(({ type, uuid }) => [type, uuid]);
  expect(shown(await before(annThere, one, ann))).toEqual(types.map((type) => [type, String(only.uuid)]));
  expect(shown(await before(bobThere, one, bob))).toEqual(types.map((type) => [type, String(except.uuid)]));
  expect(heard.all.filter(({ name }) => name.includes(":message"))).toEqual([]);
  for (const ear of [annThere, bobThere]) await ear.close();
});

test("a message to a channel that is open on another server only reaches it", async () => {
  const room = fresh("room");
  const ear = await listen(two, fresh("ann"), [room]);
  await send(one, { channel: room, message: { far: true } });
  expect((await ear.inbox.next()).message).toEqual({ far: true });
  await ear.close();
});

test("an edit and a deletion change what other servers keep for clients that catch up", async () => {
  const room = fresh("room");
  const { conn_id } = object(await ok(two, "POST", "/connect", { username: fresh("ann"), channels: [room] }));
  const watcher = await listen(two, fresh("bob"), [room]);
  const kept = await send(one, { channel: room, message: { n: 1 } });
  const gone = await send(one, { channel: room, message: { n: 2 } });
  await ok(one, "PATCH", "/message", [{ uuid: kept.uuid, channel: room, message: { n: 3 } }]);
  await ok(one, "DELETE", "/message", [{ uuid: gone.uuid, channel: room }]);
  await watcher.inbox.until(({ type }) => type === "message:delete", "the deletion");
  const answer = await fetch(`${two.url}/listen?conn_id=${conn_id}`);
  const missed = list(await answer.json()).filter(({ type }) => type === "message");
  expect(missed.map(({ message }) => message)).toEqual([{ n: 3 }]);
  await watcher.close();
});

test("messages between servers that are forged or repeated reach no client", async () => {
  const ann = fresh("ann");
  const ear = await listen(two, ann, []);
  const bus = new Bun.RedisClient(fleet.redis.url);
  const recorded = await fleet.backend.listen("hub:channelstream");
  await send(one, { pm_users: [ann], message: { true: 1 } });
  await ear.inbox.next();
  const { payload } = await recorded.until((each) => each.payload.includes(ann), "the genuine message");
  const genuine = payload.toString();
  await bus.publish("hub:channelstream", genuine);
  await bus.publish(
    "hub:channelstream",
    `${genuine.slice(0, 22)}${genuine.slice(22).replace("true", "fals")}`,
  );
  await bus.publish("hub:channelstream", "");
  expect((await before(ear, one, ann)).map(({ message }) => message)).toEqual([{ true: 1 }]);
  const metrics = await (await fetch(`${two.url}/metrics`)).text();
  expect(metrics).toMatch(/^channel_fleet_rejected_total 2$/m);
  bus.close();
  await ear.close();
});

test("/channel_config sets the settings of a channel on every server", async () => {
  const room = fresh("room");
  await ok(one, "POST", "/channel_config", { [room]: { notify_presence: true, history_size: 7 } });
  const ann = fresh("ann");
  const ear = await listen(two, ann, []);
  await before(ear, one, ann);
  const { channels } = object(await ok(two, "POST", "/info", { info: { channels: [room] } }));
  expect(object(object(channels)[room]).settings).toMatchObject({ notify_presence: true, history_size: 7 });
  await ear.close();
});

test("groups keep nothing per server: one publish reaches the subscribers of both", async () => {
  const jobs = fresh("jobs");
  const clients = await Promise.all(
    [one, two].map(({ url }) => enterGroups(url, mint({ id: "awx", channel: jobs }, JWT_SECRET))),
  );
  for (const client of clients) await client.follow({ [jobs]: ["status_changed"] });
  await fleet.backend.publish(`to:${jobs}:status_changed`, '{"status":"running"}');
  for (const client of clients) expect(await client.next()).toEqual({ status: "running" });
  // A client that comes back to the other server subscribes anew, and misses nothing from then on.
  clients[0]?.socket.close();
  const back = await enterGroups(two.url, mint({ id: "awx", channel: jobs }, JWT_SECRET));
  await back.follow({ [jobs]: ["status_changed"] });
  await fleet.backend.publish(`to:${jobs}:status_changed`, '{"status":"successful"}');
  expect(await back.next()).toEqual({ status: "successful" });
  back.socket.close();
  clients[1]?.socket.close();
});
