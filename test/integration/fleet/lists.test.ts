import { afterAll, beforeAll, expect, test } from "bun:test";
import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { mint } from "../phoenix-client.ts";
import { SECRET } from "../world.ts";
import { type FleetWorld, listServers, startFleet, until } from "./fleet-world.ts";

let world: FleetWorld;
let a: ChannelProcess;
let b: ChannelProcess;
let c: ChannelProcess;
beforeAll(async () => {
  world = await startFleet(["a", "b", "c"]);
  const [one, two, three] = world.servers;
  if (one === undefined || two === undefined || three === undefined) throw new Error("three servers");
  [a, b, c] = [one, two, three];
}, 30_000);
afterAll(() => world?.stop());

const ALL = [
  { name: "a", ok: true },
  { name: "b", ok: true },
  { name: "c", ok: true },
];

test("connections of all servers, in order, with the server of each; ?server= narrows", async () => {
  for (const [i, server] of [b, c, a, c, b].entries()) {
    await world.join(server, "list", `magdalena${i}`);
    // Those of one millisecond are in no order.
    await Bun.sleep(2);
  }
  const { body } = await call(a.url, "/api/connections?search=magdalena&sort=opened_at&order=asc");
  expect(body.servers).toEqual(ALL);
  expect(body.matching).toBe(5);
  expect(
    body.connections.map((row: { users: string[]; server: string }) => [row.users[0], row.server]),
  ).toEqual([
    ["magdalena0", "b"],
    ["magdalena1", "c"],
    ["magdalena2", "a"],
    ["magdalena3", "c"],
    ["magdalena4", "b"],
  ]);
  const page = await call(
    b.url,
    "/api/connections?search=magdalena&sort=opened_at&order=asc&offset=1&limit=2",
  );
  expect(page.body.connections.map(({ users }: { users: string[] }) => users[0])).toEqual([
    "magdalena1",
    "magdalena2",
  ]);
  const one = await call(a.url, "/api/connections?search=magdalena&server=c");
  expect([one.body.matching, one.body.servers]).toEqual([2, [{ name: "c", ok: true }]]);
  const { incarnation } = (await listServers(b)).find(({ self }) => self) ?? {};
  expect((await call(a.url, `/api/connections?search=magdalena&server=${incarnation}`)).body.matching).toBe(
    2,
  );
  const unknown = await call(a.url, "/api/connections?server=nowhere");
  expect([unknown.status, unknown.body.code]).toEqual([404, "server_unknown"]);
  const deep = await call(a.url, "/api/connections?offset=1000&limit=1");
  expect([deep.status, deep.body.code]).toEqual([422, "too_deep"]);
});

test("a channel is one row with the numbers of all servers, and lists the members of all", async () => {
  for (const server of [a, b, c]) {
    const client = await world.connect(server);
    for (const name of ["sum:one", `sum:of:${server.port}`]) {
      await client.join(name, { token: mint({ id: "max", channel: name }, SECRET) });
    }
  }
  await world.join(c, "sum:one", "nora");
  await world.backend.publish("to:sum:one:news", "1");
  const { body } = await until(
    () => call(b.url, "/api/channels?search=sum:&sort=members"),
    (answer) => answer.body.channels[0]?.users === 2,
  );
  expect([body.matching, body.total >= 7, body.servers]).toEqual([4, true, ALL]);
  expect(body.channels[0]).toMatchObject({ name: "sum:one", members: 4, users: 2 });
  const shown = (await call(a.url, "/api/channels/sum%3Aone")).body;
  expect([shown.members, shown.matching]).toEqual([4, 4]);
  expect(
    shown.listed.map(({ user, server }: { user: string; server: string }) => `${user} ${server}`).sort(),
  ).toEqual(["max a", "max b", "max c", "nora c"]);
  const elsewhere = await call(a.url, `/api/channels/sum%3Aof%3A${c.port}`);
  expect(elsewhere.body.listed).toHaveLength(1);
  expect((await call(a.url, "/api/channels/sum%3Anone")).status).toBe(404);
});

test("rows that exceed one message between servers follow in further ones", async () => {
  const clients = await Promise.all(Array.from({ length: 80 }, () => world.connect(b)));
  const names = Array.from({ length: 20 }, (_, i) => `long:${i}:${"x".repeat(230)}`);
  await Promise.all(
    clients.map(async (client, i) => {
      const token = mint({ id: `olga-of-many-${i}`, channel: "long:*" }, SECRET);
      for (const name of names) await client.join(name, { token });
    }),
  );
  const { body } = await call(a.url, "/api/connections?search=olga-of-many&limit=1000");
  expect(JSON.stringify(body).length).toBeGreaterThan(350_000);
  expect(body.servers).toEqual(ALL);
  expect(new Set(body.connections.map(({ users }: { users: string[] }) => users[0])).size).toBe(80);
}, 30_000);

test("a frozen server is named, not waited for longer than a second", async () => {
  c.kill("SIGSTOP");
  try {
    for (const path of ["/api/connections", "/api/channels", "/api/channels/system"]) {
      const at = performance.now();
      const { body } = await call(a.url, path);
      // It counts as dead after 10 s.
      expect(performance.now() - at).toBeLessThan(5_000);
      expect(body.servers).toEqual([
        { name: "a", ok: true },
        { name: "b", ok: true },
        { name: "c", ok: false },
      ]);
    }
  } finally {
    c.kill("SIGCONT");
  }
}, 30_000);
