import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { Folders, type RunningCommand, runCommand, startCommand } from "./cli-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { inTerminal } from "./terminal.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

const folders = new Folders();
const clients: PhoenixClient[] = [];
const servers: ChannelProcess[] = [];
const running: RunningCommand[] = [];
let redis: RedisProcess;
/** The folder with the configuration of the first server. */
let cwd: string;

beforeAll(async () => {
  redis = await startRedis();
  cwd = folders.create();
  const port = freePort();
  const toml = (at: number): string =>
    `port = ${at}\nredis_url = "${redis.url}"\njwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;
  servers.push(await startChannel({ cwd, port, toml: toml(port) }), await startChannel({ toml: toml(0) }));
});

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.close();
  for (const command of running.splice(0)) command.kill();
});

afterAll(async () => {
  for (const server of servers) await server.stop();
  await redis?.stop();
  folders.remove();
});

async function joinChannel(server: ChannelProcess | undefined, channel: string): Promise<void> {
  const token = mint({ id: "reader", channels: [channel] }, SECRET);
  const client = await connectPhoenix(server?.url ?? "", { params: { userToken: token } });
  clients.push(client);
  client.send({
    joinRef: "1",
    ref: "1",
    topic: channel,
    event: "phx_join",
    payload: JSON.stringify({ token }),
  });
  await client.reply("1");
}

describe("publish", () => {
  test("counts servers, and by the API the clients of all of them", async () => {
    const [first, second] = servers;
    await joinChannel(first, "team/7:a");
    await joinChannel(second, "team/7:a");
    // The servers report to each other every two seconds.
    const counted = await eventually(async () => {
      const { out } = await runCommand(["publish", "to:team/7:a:news", "1", "--json"], { cwd });
      const figures: { clients: number | null } = JSON.parse(out);
      return figures.clients === 2 && figures;
    }, "the clients of both servers");
    expect(counted).toMatchObject({ heard: 2, servers: 2 });
    const shown = inTerminal(`${channelBinary()} publish to:team/7:a:news 1`, cwd);
    expect(await shown.exited).toBe(0);
    expect(shown.screen()).toContain(
      "to:team/7:a:news: 1 bytes of JSON to 2 servers, 2 clients at 127.0.0.1:",
    );
  });

  test("says that no client is there, and what else subscribes", async () => {
    const watch = startCommand(["watch", "empty", "--redis-url", redis.url], folders.create());
    running.push(watch);
    await watch.errors.until((line) => line.startsWith("watching "), "watching");
    const { out } = await runCommand(["publish", "to:empty:news", "1", "--json"], { cwd });
    expect(JSON.parse(out)).toMatchObject({ heard: 3, servers: 2, clients: 0 });
    const shown = inTerminal(`${channelBinary()} publish to:empty:news 1`, cwd);
    expect(await shown.exited).toBe(0);
    expect(shown.screen()).toContain("to 2 servers and 1 other subscriber, 0 clients at ");
    await watch.end();
  });

  test("without an admin secret, or with the Redis of a flag, counts servers alone", async () => {
    const elsewhere = folders.create();
    for (const options of [{ cwd: elsewhere }, { cwd }]) {
      const args = ["publish", "to:room:news", "1", "--json", "--redis-url", redis.url];
      const { out } = await runCommand(args, options);
      expect(JSON.parse(out)).toMatchObject({ heard: 2, servers: 2, clients: null });
    }
  });

  test("where Redis permits no CLIENT LIST, counts subscribers", async () => {
    const asking = new Bun.RedisClient(redis.url);
    const rights = [
      "on",
      ">password",
      "resetchannels",
      "&*",
      "+publish",
      "+ping",
      "+role",
      "+hello",
      "+client|setname",
    ];
    await asking.send("ACL", ["SETUSER", "backend", ...rights]);
    asking.close();
    const url = redis.url.replace("redis://", "redis://backend:password@");
    const { code, out } = await runCommand(["publish", "to:room:news", "1", "--json", "--redis-url", url], {
      cwd,
    });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ heard: 2, servers: null, clients: null });
  });

  test("does not send the secret to another program on the port of the server", async () => {
    const heard: string[] = [];
    const stranger = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        heard.push([...request.headers].map(([name, value]) => `${name}: ${value}`).join("\n"));
        return Response.json({ listeners: "many" });
      },
    });
    const folder = folders.create();
    writeFileSync(
      join(folder, "channel.toml"),
      `port = ${stranger.port}\nredis_url = "${redis.url}"\nadmin_secret = "${ADMIN_SECRET}"\n`,
      { mode: 0o600 },
    );
    const { code, out } = await runCommand(["publish", "to:room:news", "1", "--json"], { cwd: folder });
    await stranger.stop(true);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ servers: 2, clients: null });
    expect(heard).toHaveLength(1);
    expect(heard[0]).not.toContain(ADMIN_SECRET);
  });

  test("in a pipe prints nothing but errors", async () => {
    const options = { cwd };
    const silent = { code: 0, out: "", err: "" };
    expect(await runCommand(["publish", "to:room:news", "not JSON"], options)).toEqual(silent);
    expect(await runCommand(["publish", "to:room:news", "{}"], options)).toEqual(silent);
    // Nobody subscribes to what clients push.
    expect(await runCommand(["publish", "from:room:say", "{}"], options)).toEqual(silent);
    const refused = await runCommand(["publish", "room", "{}"], options);
    expect([refused.code, refused.out]).toEqual([2, ""]);
    expect(refused.err).toStartWith("channel: room is not a topic: ");
  });
});

describe("token", () => {
  const claimsOf = (token: string): unknown =>
    JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());

  test("--for names the user, whose own channel the token allows without --channel", async () => {
    const own = await runCommand(["token", "--for", "alice"], { cwd });
    expect([own.code, own.err]).toEqual([0, ""]);
    expect(claimsOf(own.out)).toMatchObject({ id: "alice", channel: "user:alice" });
    const room = await runCommand(["token", "--for=alice", "--channel=room:*", "--json"], { cwd });
    expect(JSON.parse(room.out)).toMatchObject({ id: "alice", channel: "room:*" });
  });

  test("--can limits what the holder may do", async () => {
    const { out } = await runCommand(["token", "--channel", "room:1", "--can", "presence, join"], { cwd });
    expect(claimsOf(out)).toMatchObject({ channel: "room:1", can: ["join", "presence"] });
    const token = out.trim();
    const client = await connectPhoenix(servers[0]?.url ?? "", { params: { userToken: token } });
    clients.push(client);
    const joins = JSON.stringify({ token });
    client.send({ joinRef: "1", ref: "1", topic: "room:1", event: "phx_join", payload: joins });
    expect((await client.reply("1")).status).toBe("ok");
    client.send({ joinRef: "1", ref: "2", topic: "room:1", event: "say", payload: "{}" });
    expect((await client.reply("2")).status).toBe("error");
  });

  test.each([
    [["--for", "a", "--id", "b"], "--for and --id both name the user: use one of them"],
    [["--for", " "], "--for must name a user"],
    [["--for", "a*"], "--for: a* has no channel of its own that a token can name: use --channel"],
    [
      ["--channel", "a", "--can", "join,write"],
      "--can must list join, push, presence, separated by commas, not ",
    ],
    [["--channel", "a", "--can", ""], "--can must list join, push, presence, separated by commas, not "],
  ])("%p is refused", async (args, line) => {
    const { code, out, err } = await runCommand(["token", ...args], { cwd });
    expect([code, out]).toEqual([2, ""]);
    expect(err).toStartWith(`channel: ${line}`);
  });
});

test("channel help prints the help of a command, and of the program", async () => {
  const options = { cwd };
  const named = await runCommand(["help", "publish"], options);
  expect(named).toEqual(await runCommand(["publish", "--help"], options));
  expect(named.out).toContain("EXAMPLES");
  expect((await runCommand(["help"], options)).out).toBe((await runCommand(["--help"], options)).out);
  expect(await runCommand(["help", "pubish"], options)).toMatchObject({
    code: 2,
    err: expect.stringContaining("; did you mean publish?"),
  });
});
