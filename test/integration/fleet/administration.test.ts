/** What the administration page asks of all servers: administrative acts and processes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Answer, type Call, call } from "../api-client.ts";
import { eventually } from "../phoenix-client.ts";
import { type FleetWorld, startFleet } from "./fleet-world.ts";

let world: FleetWorld;
beforeAll(async () => {
  world = await startFleet(["eu-1", "eu-2"]);
}, 60_000);
afterAll(() => world?.stop());

function ask(index: number, path: string, options?: Call): Promise<Answer> {
  return call(world.servers[index]?.url ?? "", path, options);
}

test("acts on any server are listed on each, the newest first, without anything secret", async () => {
  await ask(1, "/api/disconnect", { body: { id: "carol", ban: "10m" } });
  await ask(0, "/api/bans/carol", { method: "DELETE" });
  await ask(0, "/api/tokens", { body: { channels: ["room:1"], id: "dave" } });
  const { body } = await ask(0, "/api/audit");
  expect(body.servers).toEqual([
    { name: "eu-1", ok: true },
    { name: "eu-2", ok: true },
  ]);
  expect(body.acts).toHaveLength(3);
  expect(body.acts.find(({ server }: { server: string }) => server === "eu-2")).toEqual({
    at: expect.any(Number),
    ...{ server: "eu-2", act: "disconnect", who: "secret", from: "127.0.0.1", result: "ok" },
    what: { id: "carol", ban_secs: "600" },
  });
  expect(JSON.stringify(body)).not.toContain("eyJ");
  const own = await ask(1, "/api/audit?server=eu-1");
  expect(own.body.acts).toEqual([
    expect.objectContaining({ act: "mint", server: "eu-1", what: { id: "dave", channels: "room:1" } }),
    expect.objectContaining({ act: "lift_ban", server: "eu-1", what: { id: "carol" }, result: "ok" }),
  ]);
  expect((await ask(1, "/api/audit?limit=1&offset=2")).body).toMatchObject({ matching: 3, total: 3 });
});

test("a search looks in every column, and a filter in the result and the server", async () => {
  await ask(0, "/api/bans/erin", { method: "DELETE" });
  const acts = async (query: string): Promise<string[]> => {
    const { body } = await ask(1, `/api/audit?${query}`);
    return body.acts.map(({ act, what }: { act: string; what: { id?: string } }) => `${act} ${what.id}`);
  };
  expect(await acts("search=ERIN")).toEqual(["lift_ban erin"]);
  expect(await acts("search=lift_ban&result=failed")).toEqual(["lift_ban erin"]);
  expect(await acts("search=lift_ban&result=ok")).toEqual(["lift_ban carol"]);
  expect(await acts("search=disconnect&server=eu-2")).toEqual(["disconnect carol"]);
  expect(await acts("search=disconnect&server=eu-1")).toEqual([]);
  expect((await ask(0, "/api/audit?server=none")).body.code).toBe("server_unknown");
});

test("failed attempts displace nothing else, and are for the administrator to see only", async () => {
  for (let i = 0; i < 3; i++) await ask(0, "/api/stats", { secret: `guess ${i}` });
  const { body } = await ask(1, "/api/audit?search=prove");
  expect(body.acts[0]).toMatchObject({ who: "nobody", result: "wrong secret", server: "eu-1" });
  expect(JSON.stringify(body)).not.toContain("guess");
  expect((await ask(1, "/api/audit?search=dave")).body.acts).toHaveLength(1);
  expect((await ask(1, "/api/audit", { secret: null })).status).toBe(401);
});

test("the processes of all servers are shown on each", async () => {
  const { body } = await ask(1, "/api/processes");
  expect(body.servers.map(({ ok }: { ok: boolean }) => ok)).toEqual([true, true]);
  expect(body.processes.map(({ name, pid }: { name: string; pid: number }) => [name, pid])).toEqual([
    ["eu-1", world.servers[0]?.pid],
    ["eu-2", world.servers[1]?.pid],
  ]);
});

test("the figures of a channel over time are the sums of all servers", async () => {
  for (const [i, server] of world.servers.entries()) await world.join(server, "room:1", `user${i}`);
  const newest = async (): Promise<number | undefined> => {
    const { body } = await ask(0, "/api/channels/room%3A1/series?range=10m");
    return body.values.members.findLast((value: number | null) => value !== null);
  };
  await eventually(async () => (await newest()) === 2, "a member on each server", 30_000);
  await eventually(
    async () => {
      const { body } = await ask(1, "/api/series?range=1h");
      return body.values.servers.includes(2) && body.values.connections.includes(2);
    },
    "both servers in the sums",
    15_000,
  );
}, 90_000);

test("a server that does not answer is named, and lists have the others", async () => {
  world.servers[1]?.kill("SIGSTOP");
  try {
    const { body } = await ask(0, "/api/audit?search=carol");
    expect(body.servers).toEqual([
      { name: "eu-1", ok: true },
      { name: "eu-2", ok: false },
    ]);
    expect(body.acts.map(({ server }: { server: string }) => server)).toEqual(["eu-1"]);
    const processes = await ask(0, "/api/processes");
    expect(processes.body.processes.map(({ name }: { name: string }) => name)).toEqual(["eu-1"]);
    expect(processes.body.servers).toContainEqual({ name: "eu-2", ok: false });
  } finally {
    world.servers[1]?.kill("SIGCONT");
  }
  await eventually(
    async () => (await ask(0, "/api/audit?search=carol")).body.acts.length === 2,
    "both servers",
  );
});
