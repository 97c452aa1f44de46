import { afterAll, beforeAll, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { eventually } from "./phoenix-client.ts";
import { listenSse } from "./sse-client.ts";
import { startWorld, type World } from "./world.ts";

/*
 * Clients that vanish. A line is cut by dropping all packets from and to the address at its end, without an error to either.
 */

/**
 * Limits for how long a client that is gone may still be listed, in ms. Under traffic it takes up to 7.5 s, the rest is for a
 * busy machine.
 */
const SILENT = 35_000;
const UNDER_TRAFFIC = 15_000;

const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
const run = (command: string) =>
  Bun.spawnSync(["sh", "-c", command], { env: { PATH }, stdout: "ignore", stderr: "ignore" }).success;

/** Whether this process may drop packets: as root, in a network of its own. */
const canCut = run("iptables -A INPUT -s 10.99.0.1 -j DROP");

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `[limits]\nmax_payload = "64KiB"\nmax_buffered_per_client = "1MiB"\n`,
  });
});
afterAll(() => world.stop());

/** Drops all packets from and to an address. */
const cut = (address: string) =>
  run(`iptables -A INPUT -s ${address} -j DROP && iptables -A INPUT -d ${address} -j DROP`);

/** Listeners of a channel. */
async function listeners(channel: string): Promise<number> {
  const { status, body } = await call(world.channel.url, `/api/channels/${channel}`);
  return status === 404 ? 0 : (body.listeners.sse ?? 0);
}

const gone = (channel: string, within: number) =>
  eventually(async () => (await listeners(channel)) === 0, `no listener of ${channel}`, within);

/** Publishes ten times a second until stopped. */
function traffic(channel: string, payload: string): { stop(): void } {
  const timer = setInterval(() => void world.backend.publish(`to:${channel}:e`, payload), 100);
  return { stop: () => clearInterval(timer) };
}

function curl(channel: string): { readonly pid: number; kill(signal: NodeJS.Signals): void } {
  return Bun.spawn(["curl", "-sN", `${world.channel.url}/sse?channel=${channel}`], {
    stdout: "ignore",
    stderr: "ignore",
  });
}

test.if(canCut)(
  "a client whose line is cut is gone within 35 s in silence",
  async () => {
    await listenSse(world.channel.port, "/sse?channel=silent", { from: "127.0.99.2" });
    expect(await listeners("silent")).toBe(1);
    expect(cut("127.0.99.2")).toBe(true);
    await gone("silent", SILENT);
    expect((await call(world.channel.url, "/metrics")).body).toContain(
      'disconnects_total{reason="silent"} 1',
    );
  },
  60_000,
);

test.if(canCut)(
  "a client whose line is cut is gone sooner under traffic, and its neighbours stay",
  async () => {
    const neighbour = await listenSse(world.channel.port, "/sse?channel=busy");
    await listenSse(world.channel.port, "/sse?channel=busy", { from: "127.0.99.3" });
    const publishing = traffic("busy", "1");
    try {
      await neighbour.message();
      expect(cut("127.0.99.3")).toBe(true);
      await eventually(async () => (await listeners("busy")) === 1, "one listener", UNDER_TRAFFIC);
      neighbour.events.take();
      await neighbour.message();
    } finally {
      publishing.stop();
      neighbour.cut();
    }
  },
  30_000,
);

test("a client that reads nothing but stays connected gets a comment every 15 s, and is not cut off", async () => {
  const reader = await listenSse(world.channel.port, "/sse?channel=quiet");
  await eventually(() => reader.comments() === 3, "three comments", 50_000);
  expect(await listeners("quiet")).toBe(1);
  reader.cut();
  await gone("quiet", UNDER_TRAFFIC);
}, 60_000);

test("a killed client is gone, in silence and under traffic", async () => {
  for (const payload of [null, "1"]) {
    const client = curl("killed");
    await eventually(async () => (await listeners("killed")) === 1, "a listener");
    const publishing = payload === null ? null : traffic("killed", payload);
    client.kill("SIGKILL");
    await gone("killed", UNDER_TRAFFIC);
    publishing?.stop();
  }
});

test("a stopped client is cut off when its backlog is full, and gone when it is killed before that", async () => {
  const client = curl("stopped");
  const other = await listenSse(world.channel.port, "/sse?channel=stopped");
  await eventually(async () => (await listeners("stopped")) === 2, "two listeners");
  client.kill("SIGSTOP");
  const payload = JSON.stringify("x".repeat(60_000));
  // The buffers of the system take some megabytes before there is a backlog.
  for (let n = 0; (await listeners("stopped")) === 2; n++) {
    expect(n).toBeLessThan(2_000);
    await world.backend.publish("to:stopped:e", payload);
    await other.message();
  }
  expect((await call(world.channel.url, "/metrics")).body).toContain('disconnects_total{reason="slow"} 1');
  client.kill("SIGKILL");
  const second = curl("stopped");
  await eventually(async () => (await listeners("stopped")) === 2, "two listeners");
  second.kill("SIGSTOP");
  second.kill("SIGKILL");
  await eventually(async () => (await listeners("stopped")) === 1, "one listener", UNDER_TRAFFIC);
  other.cut();
});

test("a client that leaves while its token is verified leaves nothing", async () => {
  for (let n = 0; n < 20; n++) {
    const reader = await Bun.connect({
      hostname: "127.0.0.1",
      port: world.channel.port,
      socket: { data() {} },
    });
    reader.write("GET /sse?channel=hasty HTTP/1.1\r\nHost: localhost\r\n\r\n");
    if (n % 2 === 0) reader.terminate();
    else reader.end();
  }
  await gone("hasty", UNDER_TRAFFIC);
});
