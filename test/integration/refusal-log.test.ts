import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChannelProcess, type LogLine, startChannel } from "./channel-process.ts";
import { enterGroups } from "./groups/groups-client.ts";
import { connectPhoenix, mint } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { ask, begin } from "./wild/poller.ts";

const SECRET = "a-long-secret-that-nobody-could-guess";
const toml = () =>
  `jwt_secret = "${SECRET}"\nbus = "embedded"\nredis_url = "redis://127.0.0.1:${freePort()}"\n`;
const FOREIGN = "https://elsewhere.example";

/** The log lines about rejections, without their timestamps. */
function refusals(channel: ChannelProcess): LogLine[] {
  return channel.lines.filter(({ message }) => message.endsWith(" refused"));
}

/** Every way in which a foreign origin, a foreign host and a bad join are rejected, some of them twice. */
async function refuseEverything({ url }: ChannelProcess): Promise<void> {
  const token = (init: RequestInit) => fetch(`${url}/token`, { method: "POST", ...init });
  for (let i = 0; i < 2; i++)
    expect((await token({ body: '{"channel":"a"}', headers: { origin: FOREIGN } })).status).toBe(403);
  expect(await begin(url, { headers: { origin: FOREIGN } })).toMatchObject({ status: 403 });
  await expect(connectPhoenix(url, { headers: { origin: FOREIGN } })).rejects.toThrow("403");
  expect((await fetch(`${url}/health`, { headers: { host: "wrong.example" } })).status).toBe(403);
  expect(await ask(`${url}/longpoll`, { headers: { host: "wrong.example" } })).toMatchObject({ status: 403 });
  const client = await connectPhoenix(url);
  const join = async (topic: string, claims: Readonly<Record<string, unknown>> | null) =>
    (await client.join(topic, claims === null ? {} : { token: mint(claims, SECRET) })).response;
  expect(await join("none", null)).toMatchObject({ reason: "unauthorized" });
  expect(await join("other", { id: "alice", channel: "mine" })).toMatchObject({ reason: "unauthorized" });
  expect(await join("late", { id: "bob", channel: "late", exp: 1_700_000_000 })).toMatchObject({
    reason: "token expired",
  });
  expect(await join("shut", { id: "carol", channel: "shut", can: [] })).toMatchObject({
    reason: "forbidden",
  });
  const follower = await enterGroups(url, mint({ id: "dave", channel: "jobs" }, SECRET));
  follower.send({ groups: { jobs: ["a"], inventories: ["b"] } });
  expect(await follower.next()).toHaveProperty("error");
  await follower.fence();
}

describe("the log of rejections", () => {
  let channel: ChannelProcess;
  let verbose: ChannelProcess;
  beforeAll(async () => {
    channel = await startChannel({ toml: toml() });
    verbose = await startChannel({ toml: toml(), args: ["--log-level", "debug"] });
    for (const each of [channel, verbose]) {
      await refuseEverything(each);
      await each.stop();
    }
  });
  afterAll(async () => {
    for (const each of [channel, verbose]) await each?.stop();
  });

  test("has each origin, host and reason at most once per minute, with the value", () => {
    const address = "127.0.0.1";
    const [origin, host, ...joins] = refusals(channel);
    expect(origin).toMatchObject({ level: "warn", message: "origin refused", origin: FOREIGN, address });
    expect(String(origin?.reason)).toContain("allowed_origins");
    expect(host).toMatchObject({ level: "warn", message: "host refused", host: "wrong.example", address });
    expect(String(host?.reason)).toContain("allowed_hosts");
    expect(joins.map(({ level, message, channel, reason }) => [level, message, channel, reason])).toEqual([
      ["info", "join refused", "none", "unauthorized"],
      ["info", "join refused", "other", "unauthorized"],
      ["info", "join refused", "late", "token expired"],
      ["info", "join refused", "shut", "forbidden"],
    ]);
  });

  test("has every rejection at debug level", () => {
    const lines = refusals(verbose);
    const of = (message: string) => lines.filter((line) => line.message === message);
    expect(of("origin refused").map(({ level }) => level)).toEqual(["warn", "debug", "debug", "debug"]);
    expect(of("host refused").map(({ level }) => level)).toEqual(["warn", "debug"]);
    expect(of("join refused").map(({ channel, reason, user }) => [channel, reason, user])).toEqual([
      ["none", "unauthorized", undefined],
      ["other", "unauthorized", "alice"],
      ["late", "token expired", undefined],
      ["shut", "forbidden", "carol"],
      ["inventories", "unauthorized", "dave"],
    ]);
    for (const line of lines) expect(line.address).toBe("127.0.0.1");
  });
});
