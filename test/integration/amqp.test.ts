import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { isUtf8 } from "node:buffer";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "amqplib";
import { createAmqpBus } from "../../src/bus/amqp/amqp-bus.ts";
import type { Bus } from "../../src/bus/bus.ts";
import { AmqpBackend } from "./amqp-backend.ts";
import { AMQP, LIMITS } from "./bus-implementations.ts";
import { GreetingListener, type LogEntry, RecordingListener, recordingLog, Settled } from "./bus-rig.ts";
import { HAS_RABBIT, type RabbitProcess, startRabbit } from "./rabbit-process.ts";
import { freePort } from "./redis-process.ts";

/** A broker on a busy machine takes its time. */
setDefaultTimeout(180_000);

/** Timeout of a wait for the broker, in ms. */
const HANGS = 40_000;

const PASSWORD = "a%pass/word:of@this-test";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Started {
  readonly bus: Bus;
  readonly received: GreetingListener;
  readonly entries: LogEntry[];
  text(): string;
}

async function startBus(url: string, options: Partial<typeof AMQP> = {}): Promise<Started> {
  const { log, entries, text } = recordingLog();
  const received = new GreetingListener("own");
  const bus = createAmqpBus({ url, ...AMQP, ...options, maxPayload: LIMITS.maxPayload, log });
  ends.push(() => bus.stop());
  await bus.subscribe(["to", "hub"], received);
  return { bus, received, entries, text };
}

async function untilLive({ bus, received }: Started, live: boolean): Promise<void> {
  while (bus.state.live !== live) await received.changes.next(HANGS);
}

async function startLive(url: string): Promise<Started> {
  const started = await startBus(url);
  await untilLive(started, true);
  return started;
}

async function accepted(bus: Bus, name: string, payload = "1"): Promise<boolean> {
  const ack = new Settled();
  bus.publish(name, payload, ack);
  return await ack.promise;
}

/** Waits until what a bus says about its state contains a text. */
async function untilDetail({ bus }: Started, part: string): Promise<void> {
  const deadline = performance.now() + HANGS;
  while (!bus.state.detail.includes(part)) {
    if (performance.now() > deadline) throw new Error(`waited for ${part}: ${bus.state.detail}`);
    await Bun.sleep(20);
  }
}

function messages(entries: readonly LogEntry[]): string[] {
  return entries.filter(({ level }) => level !== "debug").map(({ message }) => message);
}

describe.if(HAS_RABBIT)("the bus over RabbitMQ", () => {
  let rabbit: RabbitProcess;
  let folder: string;
  let tlsPort: number;
  let cert: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "channel-amqp-"));
    cert = join(folder, "cert.pem");
    const key = join(folder, "key.pem");
    const made = Bun.spawnSync([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"],
      ...["-keyout", key, "-out", cert],
    ]);
    expect(made.exitCode).toBe(0);
    tlsPort = freePort();
    rabbit = await startRabbit([
      `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
      ...[`ssl_options.cacertfile = ${cert}`, `ssl_options.certfile = ${cert}`],
      `ssl_options.keyfile = ${key}`,
    ]);
  });
  afterAll(async () => {
    await rabbit?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function backend(): Promise<AmqpBackend> {
    const made = await AmqpBackend.connect(rabbit.url);
    ends.push(() => made.close());
    return made;
  }

  function urlOf(user: string, password = PASSWORD, vhost = ""): string {
    return `amqp://${user}:${encodeURIComponent(password)}@127.0.0.1:${rabbit.port}${vhost}`;
  }

  /** A user whose permissions are those for configuring, writing and reading. */
  async function createUser(name: string, ...permissions: readonly string[]): Promise<void> {
    await rabbit.control("add_user", name, PASSWORD);
    if (permissions.length > 0) await rabbit.control("set_permissions", name, ...permissions);
  }

  test("50,000 messages each way keep their order, binary ones their bytes", async () => {
    const { bus, received } = await startLive(rabbit.url);
    const there = await backend();
    const count = 50_000;
    const bytes = (i: number): Buffer => Buffer.from([0, 0xff, i >> 16, (i >> 8) & 0xff, i & 0xff]);
    for (let i = 0; i < count; i += 1000) {
      const batch = Array.from({ length: 1000 }, (_, k) => there.publish("to:many:down", bytes(i + k)));
      await Promise.all(batch);
    }
    for (let i = 0; i < count; i++) {
      const { payload } = await received.messages.until(({ name }) => name.toString() === "to:many:down");
      if (!payload.equals(bytes(i))) throw new Error(`message ${i} is ${payload.toString("hex")}`);
    }
    const acks: Settled[] = [];
    for (let i = 0; i < count; i++) {
      const ack = new Settled();
      acks.push(ack);
      bus.publish("from:many:up", bytes(i), ack);
      if (i % 500 === 499) await ack.promise;
    }
    expect((await Promise.all(acks.map(({ promise }) => promise))).every((each) => each)).toBe(true);
    for (let i = 0; i < count; i++) {
      const payload = await there.on("from:many:up");
      if (!payload.equals(bytes(i))) throw new Error(`message ${i} is ${payload.toString("hex")}`);
    }
  });

  test("the greeting is the first message of a subscription; servers do not receive each other's", async () => {
    const there = await backend();
    const noise = setInterval(() => void there.publish("to:noise:x", "1").catch(() => {}), 1);
    ends.push(() => clearInterval(noise));
    const one = await startLive(rabbit.url);
    const two = await startLive(rabbit.url);
    for (const { received } of [one, two]) {
      await received.on("to:noise:x");
      expect(received.calls.all.slice(0, 3)).toEqual(["greeting", "hub:marker own 1", "to:noise:x 1"]);
    }
    expect(await accepted(one.bus, "hub:other", "mine")).toBe(true);
    expect((await one.received.on("hub:other")).toString()).toBe("mine");
    expect(await accepted(one.bus, "to:both:x")).toBe(true);
    await two.received.on("to:both:x");
    expect(two.received.calls.all).not.toContain("hub:other mine");
  });

  test("names: a key has 255 bytes at most, and one that is not UTF-8 is passed on as such", async () => {
    const { bus, received } = await startLive(rabbit.url);
    const there = await backend();
    expect(bus.maxName).toBe(255);
    const longest = `${"ü".repeat(126)}:xy`;
    expect(Buffer.byteLength(longest)).toBe(255);
    expect(await accepted(bus, `from:${longest}`)).toBe(true);
    await there.on(`from:${longest}`);
    expect(await accepted(bus, `from:${longest}z`)).toBe(false);
    expect(await accepted(bus, "push:a:b")).toBe(false);
    // The library replaces what is not UTF-8 by this character.
    await there.publish("to:a\ufffd:x", "odd");
    const odd = await received.messages.until(({ payload }) => payload.toString() === "odd");
    expect(isUtf8(odd.name)).toBe(false);
  });

  test("a broker that is killed: refused at once, one gap; again live when it is back", async () => {
    const started = await startLive(rabbit.url);
    const { bus, received, entries } = started;
    rabbit.kill("SIGKILL");
    await untilLive(started, false);
    expect(bus.state.detail).toContain(`cannot reach 127.0.0.1:${rabbit.port}: `);
    const ack = new Settled();
    bus.publish("from:a:b", "1", ack);
    expect(ack.times).toBe(1);
    expect(await ack.promise).toBe(false);
    await rabbit.restart();
    await untilLive(started, true);
    expect(bus.state.gaps).toBe(1);
    const there = await backend();
    await there.publish("to:back:again", "2");
    await received.on("to:back:again");
    expect(received.calls.all).toEqual([
      ...["greeting", "hub:marker own 1", "lost", "greeting", "hub:marker own 2"],
      "to:back:again 2",
    ]);
    expect(await accepted(bus, "from:a:b")).toBe(true);
    expect(messages(entries)).toEqual([
      "RabbitMQ connected",
      "RabbitMQ connection lost, retrying",
      "RabbitMQ connected",
    ]);
  });

  test("a broker that stands still: open pushes are refused, the connections given up; live when it goes on", async () => {
    const started = await startLive(rabbit.url);
    const { bus } = started;
    rabbit.kill("SIGSTOP");
    try {
      // The signal may take effect after the next messages.
      while (await accepted(bus, "from:a:b")) await Bun.sleep(20);
      await untilLive(started, false);
      expect(bus.state.detail).toContain("no answer");
    } finally {
      rabbit.kill("SIGCONT");
    }
    await untilLive(started, true);
    expect(bus.state.gaps).toBe(1);
    expect(await accepted(bus, "from:a:b")).toBe(true);
  });

  test("a memory alarm: pushes are refused, nothing is lost; live when it ends", async () => {
    const started = await startLive(rabbit.url);
    const { bus, received, entries } = started;
    await rabbit.control("set_vm_memory_high_watermark", "0");
    try {
      await untilLive(started, false);
      expect(bus.state.detail).toBe(
        `cannot use 127.0.0.1:${rabbit.port}: the broker accepts no messages: low on memory`,
      );
      expect(await accepted(bus, "from:a:b")).toBe(false);
      // It starts during an alarm too, and says why it is not live.
      const late = await startBus(rabbit.url);
      await untilDetail(late, "accepts no messages");
      expect(late.bus.state.live).toBe(false);
    } finally {
      await rabbit.control("set_vm_memory_high_watermark", "absolute", "1GB");
    }
    await untilLive(started, true);
    expect(bus.state.gaps).toBe(0);
    expect(received.calls.all).not.toContain("lost");
    expect(await accepted(bus, "from:a:b")).toBe(true);
    expect(messages(entries)).toEqual([
      "RabbitMQ connected",
      "RabbitMQ accepts no messages",
      "RabbitMQ connected",
    ]);
  });

  test("wrong password, wrong virtual host, no broker: the reason is shown once, the password never", async () => {
    await createUser("guarded", ".*", ".*", ".*");
    const cases = [
      [urlOf("guarded", "wrong%password"), "ACCESS_REFUSED"],
      [
        urlOf("guarded", PASSWORD, "/none"),
        "the virtual host none does not exist, or the user may not use it",
      ],
      [`amqp://guarded:${encodeURIComponent(PASSWORD)}@127.0.0.1:${freePort()}`, "connection refused"],
    ] as const;
    for (const [url, reason] of cases) {
      const started = await startBus(url);
      await untilDetail(started, reason);
      await Bun.sleep(1000);
      const { bus, entries, text } = started;
      expect(messages(entries)).toEqual(["RabbitMQ not reachable, retrying"]);
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), "wrong%password"]) {
        expect(text() + bus.state.detail).not.toContain(secret);
      }
      await bus.stop();
    }
    const right = await startLive(urlOf("guarded"));
    expect(await accepted(right.bus, "from:a:b")).toBe(true);
    // A user without any permission: RabbitMQ refuses the virtual host.
    await createUser("stranger");
    await untilDetail(
      await startBus(urlOf("stranger")),
      "the virtual host / does not exist, or the user may not use it",
    );
  });

  test("works with the permissions of the documentation only, and names the one that is missing", async () => {
    const own = String.raw`^channel\.server\.`;
    const rights = [
      own,
      String.raw`^(channel\.|amq\.default$)`,
      String.raw`^channel\.(to|server\.)`,
    ] as const;
    // The exchanges exist by now.
    await backend();
    await createUser("least", ...rights);
    const least = await startLive(urlOf("least"));
    const there = await backend();
    await there.publish("to:least:x", "down");
    await least.received.on("to:least:x");
    expect(await accepted(least.bus, "from:a:b")).toBe(true);

    await createUser("mute", own, String.raw`^(channel\.(to|server\.)|amq\.default$)`, rights[2]);
    const mute = await startBus(urlOf("mute"));
    await untilDetail(mute, "'channel.from'");
    expect(mute.bus.state.detail).toContain("ACCESS_REFUSED");
    await rabbit.control("set_permissions", "mute", ...rights);
    await untilLive(mute, true);
    expect(await accepted(mute.bus, "from:a:b")).toBe(true);
  });

  test("a message that the broker refuses costs no subscription", async () => {
    await createUser("topical", ".*", ".*", ".*");
    await rabbit.control("set_topic_permissions", "topical", "channel.from", "^open:", ".*");
    const { bus, received, entries } = await startLive(urlOf("topical"));
    expect(await accepted(bus, "from:closed:x")).toBe(false);
    while (!(await accepted(bus, "from:open:x"))) await Bun.sleep(20);
    expect(bus.state).toMatchObject({ live: true, gaps: 0 });
    expect(received.calls.all).not.toContain("lost");
    const refusals = entries.filter(({ message }) => message === "RabbitMQ refused a message");
    expect(refusals).toHaveLength(1);
    expect(refusals[0]?.fields.reason).toContain("ACCESS_REFUSED");
  });

  test("an exchange of another type is shown as the reason", async () => {
    const model = await connect(rabbit.url);
    const channel = await model.createChannel();
    await channel.assertExchange("channel.direct", "direct", { durable: true });
    await model.close();
    const started = await startBus(rabbit.url, { exchangeTo: "channel.direct" });
    await untilDetail(started, "PRECONDITION_FAILED");
    expect(started.bus.state.live).toBe(false);
  });

  test("a queue that is deleted ends the subscription, which then begins again", async () => {
    const started = await startLive(rabbit.url);
    const all = "[rabbit_amqqueue:delete(Q, false, false, <<>>) || Q <- rabbit_amqqueue:list()].";
    await rabbit.control("eval", all);
    await started.received.calls.until((call) => call === "lost", "the loss", HANGS);
    await untilLive(started, true);
    const there = await backend();
    await there.publish("to:new:queue", "1");
    await started.received.on("to:new:queue");
  });

  test("TLS: only with a trusted certificate", async () => {
    const url = `amqps://localhost:${tlsPort}`;
    await untilDetail(await startBus(url), "certificate");
    await untilDetail(await startBus(`amqp://localhost:${tlsPort}`), "cannot reach");
    const program = `
      import { createAmqpBus } from "${join(import.meta.dir, "../../src/bus/amqp/amqp-bus.ts")}";
      const none = () => {};
      const log = { debug: none, info: none, warn: none, error: none };
      const bus = createAmqpBus({ url: "${url}", ...${JSON.stringify(AMQP)}, maxPayload: 1e6, log });
      await bus.subscribe(["to"], { message: none, changed: none });
      // A slow broker may not have answered the first attempt by then.
      while (!bus.state.live) await Bun.sleep(20);
      bus.publish("from:tls:x", "1", { settled: (ok) => { console.log(bus.state.live, ok); process.exit(); } });
    `;
    const child = Bun.spawn([process.execPath, "-e", program], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
      stdout: "pipe",
    });
    expect(await new Response(child.stdout).text()).toBe("true true\n");
  });

  test("stop before, during and after the first attempt", async () => {
    const port = freePort();
    const silent = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
    ends.push(() => silent.stop(true));
    for (const url of [rabbit.url, `amqp://127.0.0.1:${port}`]) {
      const bus = createAmqpBus({ url, ...AMQP, maxPayload: 1000, log: recordingLog().log });
      const received = new RecordingListener();
      const subscribed = bus.subscribe(["to"], received);
      await bus.stop();
      await subscribed;
      expect(await accepted(bus, "from:a:b")).toBe(false);
      expect(received.changes.all).toEqual([]);
      await bus.stop();
    }
  });
});
