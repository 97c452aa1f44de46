import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hookSignature } from "../../src/hooks/hook-client.ts";
import { call } from "./api-client.ts";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { freePort } from "./redis-process.ts";
import { startReloading } from "./reloading.ts";
import { HOOK_SECRET, startReceiver, type WebhookReceiver, webhookToml } from "./webhook-receiver.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

const SECRETS = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;

async function start(toml: string): Promise<ChannelProcess> {
  const port = freePort();
  return startChannel({ args: ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${port}`], toml });
}

async function joinAs(server: ChannelProcess, topic: string, id: string): Promise<PhoenixClient> {
  const client = await connectPhoenix(server.url);
  await client.join(topic, { token: mint({ id, channel: topic }, SECRET) });
  return client;
}

async function metric({ url }: ChannelProcess, name: string): Promise<number> {
  const { body } = await call(url, "/metrics");
  return Number(new RegExp(`^${name.replaceAll(/[{}]/g, "\\$&")} (\\d+)$`, "m").exec(String(body))?.[1]);
}

describe("the webhook of a server with the embedded bus", () => {
  let receiver: WebhookReceiver;
  let server: ChannelProcess;
  beforeAll(async () => {
    receiver = startReceiver();
    server = await start(`${SECRETS}${webhookToml(receiver)}
[channels."quiet:*"]
presence = false
[channels."counted:*"]
presence = "count"
[[api_keys]]
key = "a key that reads everything"
can = ["read"]
channels = ["*"]
[[api_keys]]
key = "a key that reads one room"
can = ["read"]
channels = ["room:1"]
[[api_keys]]
key = "a key that publishes only"
can = ["publish"]
`);
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
    await receiver?.down();
  });

  test("says at its start that events are lost with the process", async () => {
    const line = await server.log.until(({ message }) => message.startsWith("webhook events"));
    expect(line).toMatchObject({
      level: "warn",
      message: "webhook events are kept in memory, and lost when this server ends",
      reason: "the embedded bus serves one server",
    });
  });

  test("sends events of members, users and channels", async () => {
    const alice = await joinAs(server, "room:1", "alice");
    const again = await joinAs(server, "room:1", "alice");
    alice.socket.cut();
    again.socket.cut();
    await eventually(() => receiver.eventsOf("room:1").length >= 4, "four events");
    expect(receiver.eventsOf("room:1")).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_removed alice",
      "channel_vacated",
    ]);
  });

  test("without presence, and with a count, channels are occupied and vacated only", async () => {
    for (const topic of ["quiet:1", "counted:1"]) (await joinAs(server, topic, "alice")).socket.cut();
    for (const topic of ["quiet:1", "counted:1"]) {
      await eventually(() => receiver.eventsOf(topic).includes("channel_vacated"), "the end");
      expect(receiver.eventsOf(topic)).toEqual(["channel_occupied", "channel_vacated"]);
    }
  });

  test("sends nothing of its own channels", async () => {
    const client = await joinAs(server, "system", "alice");
    const other = await joinAs(server, "room:after", "bob");
    await eventually(() => receiver.eventsOf("room:after").length >= 2, "events");
    expect(receiver.eventsOf("system")).toEqual([]);
    client.socket.cut();
    other.socket.cut();
  });

  test("its state is for those who may read all channels, and in the description of the API", async () => {
    const as = (secret: string | null) => call(server.url, "/api/webhooks", { secret });
    expect(Object.keys((await as(ADMIN_SECRET)).body)).toEqual(["backlog", "last_error"]);
    await eventually(async () => {
      const { body } = await as("a key that reads everything");
      return body.backlog === 0 && body.last_error === null;
    }, "an empty backlog");
    expect((await as("a key that reads one room")).status).toBe(403);
    expect((await as("a key that publishes only")).status).toBe(403);
    expect((await as(null)).status).toBe(401);
    const { body } = await call(server.url, "/openapi.json");
    expect(body.paths["/api/webhooks"].get.summary).toBe("State of the webhook");
  });

  test("counts what was delivered, and what failed", async () => {
    const before = await metric(server, "channel_webhook_events_total");
    expect(before).toBeGreaterThan(0);
    receiver.status = 500;
    const client = await joinAs(server, "room:counted", "alice");
    await receiver.refused.next();
    await eventually(
      async () => (await metric(server, "channel_webhook_failures_total")) > 0,
      "a counted failure",
    );
    expect(await metric(server, "channel_webhook_backlog")).toBeGreaterThan(0);
    receiver.status = 204;
    await eventually(
      async () => (await metric(server, "channel_webhook_events_total")) >= before + 2,
      "counted events",
    );
    client.socket.cut();
    expect(await metric(server, 'channel_webhook_lost_total{reason="undelivered"}')).toBe(0);
    expect(server.output()).not.toContain(HOOK_SECRET);
    expect(server.output()).not.toContain("app=test");
  });
});

test("a reload hands over: no user leaves who comes back, and the successor sends", async () => {
  const receiver = startReceiver();
  const server = await startReloading({ toml: SECRETS + webhookToml(receiver) });
  try {
    const room = "room:reloaded";
    const alice = await joinAs(server.channel, room, "alice");
    await eventually(() => receiver.eventsOf(room).length === 2, "alice");
    expect(await server.reload()).toStartWith("0: ");
    await alice.socket.closed;
    await joinAs(server.channel, room, "alice");
    await server.settled();
    await joinAs(server.channel, room, "bob");
    await eventually(() => receiver.eventsOf(room).length >= 3, "bob");
    expect(receiver.eventsOf(room)).toEqual(["channel_occupied", "member_added alice", "member_added bob"]);
  } finally {
    await server.stop();
    await receiver.down();
  }
}, 60_000);

test("without a webhook nothing waits, and nothing is wrong", async () => {
  const server = await start(SECRETS);
  expect((await call(server.url, "/api/webhooks")).body).toEqual({ backlog: 0, last_error: null });
  await server.stop();
});

test("a webhook without a secret is refused at the start", async () => {
  await expect(start(`${SECRETS}webhook = "https://app.example/hooks"\n`)).rejects.toThrow(
    "webhook requires hook_secret",
  );
});

describe("docs/webhooks.md", () => {
  const page = readFileSync(join(import.meta.dir, "../../docs/webhooks.md"), "utf8");
  const folders: string[] = [];
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ["python", () => findPython()],
    ["js", () => process.execPath],
  ] as const)(
    "the receiver in %s accepts signed requests and no others",
    async (language, command) => {
      const [, block = ""] = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page) ?? [];
      const [, settings = ""] = /```toml\n([\s\S]*?)```/.exec(page) ?? [];
      const port = freePort();
      const folder = mkdtempSync(join(tmpdir(), "channel-webhook-"));
      folders.push(folder);
      const file = join(folder, `receiver.${language}`);
      writeFileSync(file, block.replaceAll("8000", String(port)));
      const child = Bun.spawn([await command(), file], { cwd: folder, stdout: "pipe", stderr: "inherit" });
      ends.push(() => child.kill("SIGKILL"));
      let output = "";
      void (async () => {
        const decoder = new TextDecoder();
        for await (const chunk of child.stdout) output += decoder.decode(chunk, { stream: true });
      })();
      const url = `http://127.0.0.1:${port}/hooks`;
      const post = (body: string, signature: string): Promise<number | null> =>
        fetch(url, { method: "POST", body, headers: { "x-channel-signature": signature } }).then(
          ({ status }) => status,
          () => null,
        );
      expect(await eventually(() => post("{}", "t=1,v1=00"), "the receiver")).toBe(401);
      // Signed with the same secret, but a call.
      const [, secret = ""] = /hook_secret = "([^"]+)"/.exec(settings) ?? [];
      const call = '{"channel":"room:1","event":"say","reply":"a.b","payload":1}';
      expect(await post(call, hookSignature(secret, call))).toBe(401);
      const server = await start(SECRETS + settings.replaceAll("8000", String(port)));
      ends.push(() => server.stop());
      const client = await joinAs(server, "room:1", "alice");
      await eventually(() => output.includes("member_added room:1 alice"), "the event");
      expect(output).toContain("channel_occupied room:1");
      client.socket.cut();
    },
    60_000,
  );
});
