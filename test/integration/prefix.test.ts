/** Two installations on one Redis, separated by their `prefix`. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { Backend } from "./bus-rig.ts";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

const PREFIXES = ["one.", "two:"] as const;
const SECRETS = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;

interface Installation {
  readonly server: ChannelProcess;
  readonly client: PhoenixClient;
  /** Uses names without the prefix. */
  readonly backend: Backend;
}

let redis: RedisProcess;
let installations: Installation[];

beforeAll(async () => {
  redis = await startRedis();
  installations = await Promise.all(
    PREFIXES.map(async (prefix) => {
      const backend = await Backend.connect(redis.port, { prefix });
      const server = await startChannel({
        args: ["--redis-url", redis.url, "--prefix", prefix],
        toml: SECRETS,
      });
      const client = await connectPhoenix(server.url);
      const joined = await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
      expect(joined.status).toBe("ok");
      return { server, client, backend };
    }),
  );
});

afterAll(async () => {
  for (const { client, backend } of installations) {
    client.socket.cut();
    backend.close();
  }
  await Promise.all(installations.map(({ server }) => server.stop()));
  await redis.stop();
});

test("delivers a message of a backend only to clients of its installation", async () => {
  for (const { backend } of installations) {
    expect(await backend.publish("to:room:news", "1")).toBe(1);
    expect(await backend.publish("to:room:last", "1")).toBe(1);
  }
  for (const { client } of installations) {
    await client.event("last");
    expect(client.frames.all.filter(({ event }) => event === "news")).toHaveLength(1);
  }
  const plain = await Backend.connect(redis.port);
  expect(await plain.publish("to:room:news", "1")).toBe(0);
  plain.close();
});

test("publishes messages, joins and exports of clients only to backends of their installation", async () => {
  for (const [i, { client, backend }] of installations.entries()) {
    await client.ask({ topic: "room", event: `from-${i}`, payload: "1" });
    await backend.on(`from:room:from-${i}`);
  }
  for (const { backend } of installations) {
    const names = backend.received.all.map(({ name }) => name.toString());
    expect(names.filter((name) => name === "from:room:phx_join")).toHaveLength(1);
    expect(names.filter((name) => name.startsWith("from:room:from-"))).toHaveLength(1);
  }
});

test("stores a revocation under the prefix, and applies it only in its installation", async () => {
  const [one, two] = installations;
  if (one === undefined || two === undefined) throw new Error("two installations");
  const token = mint({ id: "bob", channel: "room", jti: "shared" }, SECRET);
  const revoked = await call(one.server.url, "/api/revocations", {
    body: { jti: "shared", expires_in: "1h" },
  });
  expect(revoked.status).toBe(200);
  const revocations = async (): Promise<string[]> =>
    (await keys(one.backend)).filter((key) => key.includes("revoked"));
  await eventually(async () => (await revocations()).length > 0, "the revocation in Redis");
  expect(await revocations()).toEqual(["one.hub:revoked"]);
  const statuses = await Promise.all(
    installations.map(async ({ server }) => {
      const client = await connectPhoenix(server.url);
      const { status } = await client.join("room", { token });
      client.socket.cut();
      return status;
    }),
  );
  expect(statuses).toEqual(["error", "ok"]);
});

test("channel publish, watch and bench use the prefix", async () => {
  const [, two] = installations;
  if (two === undefined) throw new Error("two installations");
  const bus = ["--redis-url", redis.url, "--prefix", "two:"];
  const patterns = async (): Promise<number> => Number(await two.backend.command("PUBSUB", "NUMPAT"));
  const before = await patterns();
  const watching = run(["watch", ...bus, "--count", "1", "--json", "to:room:typed"]);
  await eventually(async () => (await patterns()) > before, "the subscription of channel watch");
  expect(await run(["publish", ...bus, "to:room:typed", "1"])).toMatchObject({ code: 0 });
  expect(JSON.parse((await watching).out)).toMatchObject({
    topic: "to:room:typed",
    channel: "room",
    payload: 1,
  });
  expect((await two.client.event("typed")).payload).toBe(1);
  const load = ["--clients", "4", "--channels", "2", "--rate", "20", "--for", "1s", "--jwt-secret", SECRET];
  const benched = await run(["bench", ...bus, ...load, two.server.url]);
  expect(benched.out).toMatch(/\(100 %\)/);
}, 30_000);

async function keys(backend: Backend): Promise<string[]> {
  const found = await backend.command("KEYS", "*");
  return Array.isArray(found) ? found.map(String) : [];
}

async function run(args: readonly string[]) {
  const child = Bun.spawn([channelBinary(), ...args], {
    env: {},
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}
