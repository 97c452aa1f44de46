import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Answer, call } from "../api-client.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { connectPhoenix, eventually, mint } from "../phoenix-client.ts";
import { startClusterNodes } from "../redis-topologies.ts";
import { type Backend, backendOn, SECRET } from "../world.ts";
import { TOML, until, untilServers } from "./fleet-world.ts";

/*
 * `POST /api/publish` over a Redis Cluster: servers subscribe and publish at different nodes.
 */

const SETTINGS = `${TOML}[channels."kept:*"]\nhistory = 1000\n`;
const ends: (() => unknown)[] = [];
const servers: ChannelProcess[] = [];
const backends: Backend[] = [];

beforeAll(async () => {
  const ports = await startClusterNodes(ends);
  for (const [i, port] of ports.slice(0, 2).entries()) {
    const args = ["--redis-url", `redis+cluster://127.0.0.1:${port}`];
    servers.push(await startChannel({ args, toml: `node_name = "n${i}"\n${SETTINGS}` }));
  }
  backends.push(...ports.map(backendOn));
  for (const server of servers) await untilServers(server, (rows) => rows.length === 2);
}, 60_000);
afterAll(async () => {
  for (const backend of backends) backend.stop();
  await Promise.all(servers.map((server) => server.stop()));
  for (const end of ends.splice(0).reverse()) await end();
});

function publish(i: number, body: unknown): Promise<Answer> {
  const server = servers[i % servers.length];
  if (server === undefined) throw new Error("no server");
  return call(server.url, "/api/publish", { body });
}

test("each server publishes to all, and an id once, whichever node has its key", async () => {
  const clients = await Promise.all(servers.map(({ url }) => connectPhoenix(url)));
  for (const client of clients)
    await client.join("kept:1", { token: mint({ id: "u", channel: "kept:1" }, SECRET) });
  // Ids of all three nodes.
  for (let n = 0; n < 20; n++) {
    const body = { channels: ["kept:1", "room:1"], event: "e", payload: n, id: `order ${n}` };
    const answers = await Promise.all([0, 1, 2, 3].map((i) => publish(i, body)));
    expect(answers.filter(({ body: { repeated } }) => repeated === false)).toHaveLength(1);
    for (const client of clients) expect((await client.event("e")).payload).toBe(n);
  }
  for (const client of clients) {
    expect((await client.fence()).filter(({ event }) => event === "e")).toEqual([]);
    client.socket.cut();
  }
}, 30_000);

test("what follows a position misses nothing of what was published after the message", async () => {
  // Messages of another node, between those of the servers.
  const noise = setInterval(() => {
    for (const backend of backends) void backend.publish("to:kept:noise:x", "1");
  }, 1);
  try {
    for (let n = 0; n < 20; n++) {
      const channel = `kept:at${n}`;
      const { body } = await publish(n, { channel, event: "first", payload: 1 });
      expect(body.position).toBeString();
      await publish(n, { channel, event: "second", payload: 2 });
      const server = servers[n % servers.length];
      const path = `/api/channels/${encodeURIComponent(channel)}/history?since=${body.position}`;
      await until(
        () => call(server?.url ?? "", path),
        ({ status, body: found }) => status === 200 && found.messages?.at(-1)?.event === "second",
      );
    }
  } finally {
    clearInterval(noise);
  }
}, 30_000);

test("a message to one connection finds it on the other server", async () => {
  const [, other] = servers;
  const client = await connectPhoenix(other?.url ?? "");
  const { response } = await client.join("room:2", { token: mint({ id: "u", channel: "room:2" }, SECRET) });
  const [connection] = String(Object(response).id).split(":");
  expect((await publish(0, { channel: "room:2", connection, event: "say", payload: 1 })).status).toBe(200);
  expect((await client.event("say")).payload).toBe(1);
  client.socket.cut();
  await eventually(
    async () =>
      (await publish(0, { channel: "room:2", connection, event: "say", payload: 1 })).status === 404,
    "the connection to end",
  );
}, 30_000);
