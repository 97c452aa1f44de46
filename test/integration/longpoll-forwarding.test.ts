import { afterEach, describe, expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { eventually, mint } from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { ADMIN_SECRET, backendOn, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const CLIENT = "203.0.113.9";
const SECRETS = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\ntrusted_proxies = ["127.0.0.1"]\n`;

interface Fleet {
  readonly redis: RedisProcess;
  readonly servers: readonly [ChannelProcess, ChannelProcess];
}

/** Two servers that know each other. @param urls the `node_urls` of both */
async function startFleet(urls: (ports: readonly number[]) => readonly string[]): Promise<Fleet> {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const ports = [freePort(), freePort()];
  const start = async (port = 0): Promise<ChannelProcess> => {
    const nodes = `node_url = "http://127.0.0.1:${port}"\nnode_urls = ${JSON.stringify(urls(ports))}\n`;
    const server = await startChannel({ port, toml: SECRETS + nodes, args: ["--redis-url", redis.url] });
    ends.push(() => server.stop());
    return server;
  };
  const servers = [await start(ports[0]), await start(ports[1])] as const;
  for (const { log } of servers)
    await log.atLeast(1, ({ message }) => message === "server joined", "the other server");
  return { redis, servers };
}

const all = (ports: readonly number[]): string[] => ports.map((port) => `http://127.0.0.1:${port}`);

interface PollAnswer {
  readonly status: number;
  readonly token: string;
  readonly messages: readonly string[];
}

async function ask(
  server: ChannelProcess,
  method: "GET" | "POST",
  token: string | null,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<PollAnswer> {
  const query = new URLSearchParams({ vsn: "2.0.0", ...(token === null ? {} : { token }) });
  const response = await fetch(`${server.url}/longpoll?${query}`, {
    method,
    headers: { "x-forwarded-for": CLIENT, origin: server.url, ...headers },
    ...(body === undefined ? {} : { body }),
  });
  return Object(await response.json());
}

const join = JSON.stringify([
  "1",
  "1",
  "room",
  "phx_join",
  { token: mint({ id: "alice", channel: "room" }, SECRET) },
]);

/** Starts a session at `holder` whose requests, from its first use on, are made at `other`. */
async function joinThrough(holder: ChannelProcess, other: ChannelProcess): Promise<string> {
  const { token } = await ask(holder, "GET", null);
  expect((await ask(other, "POST", token, join)).status).toBe(200);
  const poll = await ask(other, "GET", token);
  expect([poll.status, poll.messages.some((text) => text.includes('"status":"ok"'))]).toEqual([200, true]);
  return poll.token;
}

async function connections(server: ChannelProcess): Promise<readonly { readonly address: string }[]> {
  const answer = await fetch(`${server.url}/api/connections`, {
    headers: { authorization: `Bearer ${ADMIN_SECRET}`, "x-forwarded-for": "127.0.0.1" },
  });
  return Object(await answer.json()).connections;
}

describe("a long poll that reaches another server", () => {
  test("is forwarded to the one that holds the session, with the address of the client", async () => {
    const { redis, servers } = await startFleet(all);
    const [holder, other] = servers;
    const token = await joinThrough(holder, other);
    // Past what the join itself caused, such as the presence state.
    const backend = backendOn(redis.port);
    ends.push(() => backend.stop());
    const received: string[] = [];
    let newest = token;
    const polling = eventually(async () => {
      const poll = await ask(other, "GET", newest);
      newest = poll.token;
      received.push(...poll.messages);
      return received.some((text) => text.includes('"news"'));
    }, "the message");
    await backend.publish("to:room:news", '"hello"');
    await polling;
    expect((await ask(other, "POST", newest, '["1","2","room","say",{}]')).status).toBe(200);
    expect((await connections(holder)).map(({ address }) => address)).toEqual([CLIENT]);
  });

  test("starts a new session if the holder is not among node_urls", async () => {
    const { servers } = await startFleet(() => ["http://127.0.0.1:1"]);
    const [holder, other] = servers;
    const { token } = await ask(holder, "GET", null);
    expect((await ask(other, "POST", token, join)).status).toBe(410);
    const poll = await ask(other, "GET", token);
    expect(poll.status).toBe(410);
    expect(poll.token.split(".")[0]).not.toBe(token.split(".")[0]);
  });

  test("starts a new session once the holder is gone, also if it does not answer", async () => {
    const { servers } = await startFleet(all);
    const [holder, other] = servers;
    const token = await joinThrough(holder, other);
    holder.kill("SIGKILL");
    await holder.exited;
    const poll = await ask(other, "GET", token);
    expect(poll.status).toBe(410);
    expect(poll.token.split(".")[0]).not.toBe(token.split(".")[0]);
  });

  test("is not forwarded twice, and a forged header changes neither the client nor the way", async () => {
    const { servers } = await startFleet(all);
    const [holder, other] = servers;
    const forged = Buffer.from(JSON.stringify(["GET ", "127.0.0.1", false, true])).toString("base64url");
    const { token } = await ask(holder, "GET", null);
    const headers = { "x-channel-forwarded": `${"A".repeat(22)}${forged}` };
    expect((await ask(other, "POST", token, join, headers)).status).toBe(200);
    expect((await connections(holder)).map(({ address }) => address)).toEqual([CLIENT]);
    // The holder answers for a session that it does not know: it does not ask a third server.
    const unknown = `${token.split(".")[0]}.${"A".repeat(80)}`;
    expect((await ask(other, "GET", unknown)).status).toBe(410);
  });
});
