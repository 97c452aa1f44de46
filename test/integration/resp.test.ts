import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createEmbeddedBus, type EmbeddedBus } from "../../src/bus/embedded/embedded-bus.ts";
import { RecordingListener, recordingLog } from "./bus-rig.ts";
import { Inbox } from "./inbox.ts";
import { findPython } from "./python.ts";
import { startRedis } from "./redis-process.ts";
import { RespClient, request } from "./resp-client.ts";

const MIB = 1024 * 1024;
const clients: RespClient[] = [];
const programs: Bun.Subprocess[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const program of programs.splice(0)) {
    program.kill();
    await program.exited;
  }
});

async function dial(port: number): Promise<RespClient> {
  const client = await RespClient.connect(port);
  clients.push(client);
  return client;
}

/** Sessions of requests and replies that Redis and the embedded bus must answer alike, byte for byte. */
const SESSIONS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  "a connection and its name": [
    [request("PING"), "+PONG\r\n"],
    [request("ping", "a\0\r\nb"), "$5\r\na\0\r\nb\r\n"],
    [request("PING", "a", "b"), "-ERR wrong number of arguments for 'ping' command\r\n"],
    [request("ECHO", "\xff\xfe"), "$2\r\n\xff\xfe\r\n"],
    [request("echo"), "-ERR wrong number of arguments for 'echo' command\r\n"],
    [request("SELECT", "0"), "+OK\r\n"],
    [request("SELECT", "15"), "+OK\r\n"],
    [request("SELECT", "16"), "-ERR DB index is out of range\r\n"],
    [request("SELECT", "-1"), "-ERR DB index is out of range\r\n"],
    [request("SELECT", "x"), "-ERR value is not an integer or out of range\r\n"],
    [request("CLIENT", "GETNAME"), "$-1\r\n"],
    [request("CLIENT", "SETNAME", "me"), "+OK\r\n"],
    [request("client", "getname"), "$2\r\nme\r\n"],
    [
      request("CLIENT", "SETNAME", "a b"),
      "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
    ],
    [request("CLIENT"), "-ERR wrong number of arguments for 'client' command\r\n"],
    [request("CLIENT", "SETNAME"), "-ERR wrong number of arguments for 'client|setname' command\r\n"],
    [request("CLIENT", "NONSENSE"), "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.\r\n"],
    [
      request("AUTH", "x"),
      "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
    ],
    [request("AUTH", "default", "x"), "+OK\r\n"],
    [request("AUTH", "nobody", "x"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n"],
    [request("AUTH", "a", "b", "c"), "-ERR syntax error\r\n"],
    [request("HELLO", "4"), "-NOPROTO unsupported protocol version\r\n"],
    [request("HELLO", "x"), "-ERR Protocol version is not an integer or out of range\r\n"],
    [request("HELLO", "3", "NONSENSE"), "-ERR Syntax error in HELLO option 'NONSENSE'\r\n"],
    [
      request("HELLO", "3", "AUTH", "nobody", "x"),
      "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    ],
    [request("RESET"), "+RESET\r\n"],
    [request("CLIENT", "GETNAME"), "$-1\r\n"],
    [`*0\r\n${request("PING")}`, "+PONG\r\n"],
  ],
  "commands that there are not": [
    [request("FOO"), "-ERR unknown command 'FOO', with args beginning with: \r\n"],
    [request("foo", "a", "b\r\nc"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b  c' \r\n"],
    [request(""), "-ERR unknown command '', with args beginning with: \r\n"],
    [request("PUBSUB", "X"), "-ERR unknown subcommand 'X'. Try PUBSUB HELP.\r\n"],
    [request("PUBLISH", "a"), "-ERR wrong number of arguments for 'publish' command\r\n"],
    [request("SUBSCRIBE"), "-ERR wrong number of arguments for 'subscribe' command\r\n"],
    [request("PUBSUB"), "-ERR wrong number of arguments for 'pubsub' command\r\n"],
    [request("PUBSUB", "NUMPAT", "x"), "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n"],
    [request("PING"), "+PONG\r\n"],
  ],
  "subscriptions in RESP2": [
    [request("UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"],
    [request("PUNSUBSCRIBE", "x"), "*3\r\n$12\r\npunsubscribe\r\n$1\r\nx\r\n:0\r\n"],
    [
      request("SUBSCRIBE", "a", "b", "a"),
      "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n",
    ],
    [request("PSUBSCRIBE", "\xff*"), "*3\r\n$10\r\npsubscribe\r\n$2\r\n\xff*\r\n:3\r\n"],
    [request("PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n"],
    [request("PING", "x"), "*2\r\n$4\r\npong\r\n$1\r\nx\r\n"],
    [
      request("PUBLISH", "a", "b"),
      "-ERR Can't execute 'publish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n",
    ],
    [request("UNSUBSCRIBE", "b"), "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:2\r\n"],
    [request("PUNSUBSCRIBE"), "*3\r\n$12\r\npunsubscribe\r\n$2\r\n\xff*\r\n:1\r\n"],
    [request("UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"],
    [request("PUBLISH", "a", "b"), ":0\r\n"],
    [request("SUBSCRIBE", "a"), "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"],
    [request("RESET"), "+RESET\r\n"],
    [request("PUBLISH", "a", "b"), ":0\r\n"],
  ],
  "what is subscribed to": [
    [request("PUBSUB", "CHANNELS"), "*0\r\n"],
    [request("PUBSUB", "NUMSUB"), "*0\r\n"],
    [request("PUBSUB", "NUMSUB", "a", "\xff"), "*4\r\n$1\r\na\r\n:0\r\n$1\r\n\xff\r\n:0\r\n"],
    [
      request("PUBSUB", "CHANNELS", "a", "b"),
      "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\r\n",
    ],
  ],
};

interface Server {
  readonly port: number;
  /** Number of patterns that the server itself subscribes to. */
  readonly own: number;
  end(): Promise<void>;
}

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  Redis: async () => {
    const redis = await startRedis();
    return { port: redis.port, own: 0, end: () => redis.stop() };
  },
  "the embedded bus": async () => {
    const bus = createEmbeddedBus({
      port: 0,
      maxPayload: 4 * MIB,
      maxBuffered: 64 * MIB,
      log: recordingLog().log,
    });
    await bus.subscribe(["to"], new RecordingListener());
    return { port: bus.port, own: 1, end: () => bus.stop() };
  },
};

describe.each(Object.keys(SERVERS))("the Redis protocol, as served by %s", (kind) => {
  let server: Server;
  beforeAll(async () => {
    const start = SERVERS[kind];
    if (start === undefined) throw new Error(`no server ${kind}`);
    server = await start();
  });
  afterAll(() => server.end());

  test.each(Object.keys(SESSIONS))("%s", async (name) => {
    const client = await dial(server.port);
    for (const [asked, expected] of SESSIONS[name] ?? []) {
      expect({ asked, reply: await client.ask(asked, expected) }).toEqual({ asked, reply: expected });
    }
    // No further bytes were received.
    expect(await client.ask(request("QUIT"), "+OK\r\n")).toBe("+OK\r\n");
    expect(await client.ended()).toBe("");
  });

  test("delivers messages in RESP2 and RESP3, by name and by pattern, once per subscription", async () => {
    const [two, three, speaker] = [await dial(server.port), await dial(server.port), await dial(server.port)];
    three.send(request("HELLO", "3"));
    const hello = await three.read(2);
    expect(hello).toBe("%7");
    three.send(
      request("SUBSCRIBE", "ch\xff") + request("PSUBSCRIBE", "c*", "*\xff", "x*") + request("ECHO", "ready"),
    );
    for (let seen = ""; !seen.endsWith("$5\r\nready\r\n"); ) seen += await three.read(1);
    two.send(request("SUBSCRIBE", "ch\xff") + request("PSUBSCRIBE", "c*"));
    const confirmed =
      "*3\r\n$9\r\nsubscribe\r\n$3\r\nch\xff\r\n:1\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:2\r\n";
    expect(await two.read(confirmed.length)).toBe(confirmed);
    expect(await speaker.ask(request("PUBLISH", "ch\xff", "a\r\n\0"), ":5\r\n")).toBe(":5\r\n");
    const body = "$3\r\nch\xff\r\n$4\r\na\r\n\0\r\n";
    const asTwo = `*3\r\n$7\r\nmessage\r\n${body}*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n${body}`;
    expect(await two.read(asTwo.length)).toBe(asTwo);
    const named = `>3\r\n$7\r\nmessage\r\n${body}`;
    expect(await three.read(named.length)).toBe(named);
    const frames = ["c*", "*\xff"].map((pattern) => `>4\r\n$8\r\npmessage\r\n$2\r\n${pattern}\r\n${body}`);
    const came = await three.read(frames.join("").length);
    // The order of patterns is not specified by Redis.
    for (const frame of frames) expect(came).toContain(frame);
    // RESP3 allows publishing while subscribed.
    expect(await three.ask(request("PUBLISH", "nobody", ""), ":0\r\n")).toBe(":0\r\n");
  });

  test("lists subscriptions: channels by pattern, subscribers, patterns", async () => {
    const [subscriber, asker] = [await dial(server.port), await dial(server.port)];
    subscriber.send(request("SUBSCRIBE", "l:a", "m:b") + request("PSUBSCRIBE", "l:*") + request("PING"));
    for (let seen = ""; !seen.endsWith("pong\r\n$0\r\n\r\n"); ) seen += await subscriber.read(1);
    const asks: [string, string][] = [
      [request("PUBSUB", "CHANNELS", "l:*"), "*1\r\n$3\r\nl:a\r\n"],
      [request("PUBSUB", "CHANNELS", "[lm]:?x"), "*0\r\n"],
      [request("PUBSUB", "NUMSUB", "l:a", "l:x"), "*4\r\n$3\r\nl:a\r\n:1\r\n$3\r\nl:x\r\n:0\r\n"],
      [request("PUBSUB", "NUMPAT"), `:${1 + server.own}\r\n`],
    ];
    for (const [asked, expected] of asks) expect(await asker.ask(asked, expected)).toBe(expected);
    subscriber.close();
    const gone = `:${server.own}\r\n`;
    while ((await asker.ask(request("PUBSUB", "NUMPAT"), gone)) !== gone) await Bun.sleep(5);
  });

  test("an empty name does not match *, as in Redis", async () => {
    const [subscriber, speaker] = [await dial(server.port), await dial(server.port)];
    subscriber.send(request("PSUBSCRIBE", "*"));
    await subscriber.read("*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n".length);
    expect(await speaker.ask(request("PUBLISH", "", "x"), ":0\r\n")).toBe(":0\r\n");
    expect(await speaker.ask(request("PUBLISH", "x", ""), ":1\r\n")).toBe(":1\r\n");
  });

  test("accepts requests split into bytes, and 10000 requests in one write", async () => {
    const client = await dial(server.port);
    const bytes = request("PUBLISH", "pieces:a", "\r\n$3\r\n\0") + request("PING");
    for (const byte of bytes) {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.read(11)).toBe(":0\r\n+PONG\r\n");
    const many = 10_000;
    client.send(request("PUBLISH", "many:a", "x".repeat(50)).repeat(many));
    expect(await client.read(4 * many)).toBe(":0\r\n".repeat(many));
  });

  test.each(["-2", "-3"])("redis-cli %s publishes and subscribes", async (protocol) => {
    const cli = ["redis-cli", "-h", "127.0.0.1", "-p", String(server.port), protocol];
    const listening = Bun.spawn([...cli, "--raw", "psubscribe", "from:*"], { stdout: "pipe" });
    programs.push(listening);
    const lines = linesOf(listening.stdout);
    await lines.until((line) => line === "1", "the subscription");
    expect(await output([...cli, "publish", "from:weather:wind:now", '{"kn":12}'])).toBe("1\n");
    await lines.until((line) => line === "pmessage");
    const received = [await lines.next(), await lines.next(), await lines.next()];
    expect(received).toEqual(["from:*", "from:weather:wind:now", '{"kn":12}']);
    expect(await output(cli, "ping\necho 'a b'\nselect 3\nnonsense\n")).toBe(
      "PONG\na b\nOK\nERR unknown command 'nonsense', with args beginning with: \n\n",
    );
  });

  test.each([2, 3])("Python's redis package works with protocol %d", async (protocol) => {
    const script = `
import json, redis, sys
port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(host="localhost", port=port, protocol=protocol, client_name="py")
out = {"ping": r.ping(), "echo": r.echo("x").decode(), "name": r.client_getname()}
if isinstance(out["name"], bytes): out["name"] = out["name"].decode()
out["id"] = isinstance(r.client_id(), int)
out["version"] = r.info()["redis_version"].split(".")[0]
p = r.pubsub()
p.psubscribe("from:system:*")
p.subscribe("plain")
out["subscribed"] = [p.get_message(timeout=5)["type"] for _ in range(2)]
out["numsub"] = [[n.decode(), c] for n, c in r.pubsub_numsub("plain")]
out["channels"] = [c.decode() for c in r.pubsub_channels("pl*")]
out["received"] = [r.publish("from:system:update", json.dumps({"a": "\\u00fc"})), r.publish("plain", bytes(range(256))), r.publish("nobody", "")]
got = []
while len(got) < 2:
    m = p.get_message(timeout=5)
    if m is None: break
    got.append([m["type"], None if m["pattern"] is None else m["pattern"].decode(), m["channel"].decode(), m["data"].hex()])
out["got"] = got
p.ping()
out["pong"] = p.get_message(timeout=5)["type"]
p.punsubscribe(); p.unsubscribe()
pipe = r.pipeline(transaction=False)
for i in range(1000): pipe.publish("nobody", i)
out["pipeline"] = sum(pipe.execute())
try: r.get("key"); out["get"] = "no error"
except redis.ResponseError as e: out["get"] = str(e)[:21]
print(json.dumps(out))
`;
    const child = Bun.spawn([findPython(), "-c", script, String(server.port), String(protocol)], {
      stdout: "pipe",
      stderr: "pipe",
    });
    programs.push(child);
    const [out, problems] = [
      await new Response(child.stdout).text(),
      await new Response(child.stderr).text(),
    ];
    expect(problems).toBe("");
    expect(JSON.parse(out)).toMatchObject({
      ping: true,
      echo: "x",
      name: "py",
      id: true,
      version: "7",
      subscribed: ["psubscribe", "subscribe"],
      pong: "pong",
      numsub: [["plain", 1]],
      channels: ["plain"],
      received: [1, 1, 0],
      got: [
        ["pmessage", "from:system:*", "from:system:update", Buffer.from('{"a": "\\u00fc"}').toString("hex")],
        ["message", null, "plain", Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("hex")],
      ],
      pipeline: 0,
      get: kind === "Redis" ? "no error" : "unknown command 'GET'",
    });
  });
});

describe("the embedded bus, with untrusted clients", () => {
  const MAX_PAYLOAD = 64 * 1024;
  const MAX_BUFFERED = 8 * MIB;
  const received = new RecordingListener();
  const { log, entries } = recordingLog();
  let bus: EmbeddedBus;
  beforeAll(async () => {
    bus = createEmbeddedBus({ port: 0, maxPayload: MAX_PAYLOAD, maxBuffered: MAX_BUFFERED, log });
    await bus.subscribe(["to"], received);
  });
  afterAll(() => bus.stop());
  beforeEach(() => {
    entries.length = 0;
  });

  async function stillServes(): Promise<void> {
    const client = await dial(bus.port);
    expect(await client.ask(request("PUBLISH", "to:still:here", "x"), ":1\r\n")).toBe(":1\r\n");
    await received.on("to:still:here");
  }

  test.each([
    ["an HTTP request", "POST / HTTP/1.1\r\nHost: 127.0.0.1:6379\r\nContent-Length: 40\r\n\r\n"],
    ["a request hidden in a body", `GET / HTTP/1.1\r\n\r\n${request("PUBLISH", "to:evil:x", "x")}`],
    ["an inline command", "PING\r\n"],
    ["an empty line", "\r\n"],
    ["a TLS ClientHello", "\x16\x03\x01\x02\0\x01\0"],
    ["zeros", "\0\0\0\0"],
    [
      "a command after an invalid one",
      `${request("PING").slice(0, 0)}X${request("PUBLISH", "to:evil:x", "x")}`,
    ],
  ])("closes the connection without a reply to %s", async (_name, bytes) => {
    const client = await dial(bus.port);
    client.send(bytes);
    expect(await client.ended()).toBe("");
    expect(received.messages.all.some(({ name }) => name.toString() === "to:evil:x")).toBe(false);
    await stillServes();
  });

  test.each([
    ["a negative count", "*-1\r\n"],
    ["a count that is not a number", "*x\r\n"],
    ["no count", "*\r\n"],
    ["a signed count", "*+1\r\n"],
    ["too large a count", "*1048577\r\n"],
    ["a count of thirty digits", `*${"9".repeat(30)}\r\n`],
    ["an endless count", `*${"0".repeat(5000)}`],
    ["a count without its line feed", "*1\rX"],
    ["a negative length", "*1\r\n$-1\r\n"],
    ["a length that is not a number", "*1\r\n$abc\r\n"],
    ["a bulk over the limit", `*3\r\n$7\r\nPUBLISH\r\n$6\r\nto:a:b\r\n$${MAX_PAYLOAD + 1}\r\n`],
    ["a bulk of an exabyte", "*1\r\n$9999999999\r\n"],
    ["a bulk longer than it says", "*1\r\n$4\r\nPINGPONG\r\n"],
    ["no dollar", "*1\r\n:1\r\n"],
    ["a thousand nested arrays", "*1\r\n".repeat(1000)],
    ["a million empty strings, then garbage", `*1000000\r\n${"$0\r\n\r\n".repeat(1000)}x`],
    ["a set, a map", "~1\r\n"],
  ])("closes the connection after %s, with a protocol error or without a reply", async (_name, bytes) => {
    const client = await dial(bus.port);
    client.send(bytes);
    const last = await client.ended();
    if (bytes.startsWith("*")) expect(last).toMatch(/^-ERR Protocol error: [^\r\n]+\r\n$/);
    else expect(last).toBe("");
    await stillServes();
  });

  test("rejects strings that together exceed the limit before they are buffered", async () => {
    const client = await dial(bus.port);
    client.send(`*1000\r\n${`$${MAX_PAYLOAD}\r\n${"x".repeat(MAX_PAYLOAD)}\r\n`.repeat(20)}`);
    expect(await client.ended()).toBe("-ERR Protocol error: too big a request\r\n");
    await stillServes();
  });

  test("executes and answers the requests before a protocol error", async () => {
    const client = await dial(bus.port);
    client.send(`${request("PUBLISH", "to:before:fault", "x")}${request("PING")}*x\r\n${request("PING")}`);
    expect(await client.ended()).toBe(":1\r\n+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    await received.on("to:before:fault");
  });

  test("accepts a payload of the maximum size", async () => {
    const client = await dial(bus.port);
    const payload = "x".repeat(MAX_PAYLOAD);
    expect(await client.ask(request("PUBLISH", "to:largest:x", payload), ":1\r\n")).toBe(":1\r\n");
    expect((await received.on("to:largest:x")).toString()).toBe(payload);
  });

  test("connections with an incomplete request do not affect others", async () => {
    for (let i = 0; i < 200; i++)
      (await dial(bus.port)).send(`*3\r\n$7\r\nPUBLISH\r\n$6\r\nto:a:b\r\n$${MAX_PAYLOAD}\r\nx`);
    await stillServes();
  });

  test("disconnects a subscriber that does not read when the total backlog is too large; others lose no message", async () => {
    const [slow, quick, speaker] = [await dial(bus.port), await dial(bus.port), await dial(bus.port)];
    for (const one of [slow, quick]) {
      one.send(request("CLIENT", "SETNAME", one === slow ? "slow" : "quick") + request("SUBSCRIBE", "flood"));
      await one.read("+OK\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n".length);
    }
    slow.socket.pause();
    const payload = "x".repeat(MAX_PAYLOAD - 8);
    let heardBySlow = 0;
    let count = 0;
    for (; count < 1000; count++) {
      const reply = await speaker.ask(
        request("PUBLISH", "flood", String(count).padStart(8, "0") + payload),
        ":1\r\n",
      );
      if (reply === ":1\r\n") break;
      heardBySlow++;
    }
    // More than its share of the budget, less than all messages: the kernel buffers some of them.
    expect(heardBySlow * MAX_PAYLOAD).toBeGreaterThan(8 * MIB);
    expect(count).toBeLessThan(1000);
    const frame = `*3\r\n$7\r\nmessage\r\n$5\r\nflood\r\n$${MAX_PAYLOAD}\r\n`;
    for (let i = 0; i <= count; i++) {
      const came = await quick.read(frame.length + MAX_PAYLOAD + 2);
      if (came.slice(frame.length, frame.length + 8) !== String(i).padStart(8, "0"))
        throw new Error(`message ${i}`);
    }
    const warned = entries.filter(({ level }) => level === "warn");
    expect(warned.map(({ fields }) => fields.name)).toEqual(["slow"]);
    slow.socket.resume();
    await slow.ended();
  });

  test("stops reading from a client that does not read its replies, and sends all of them once it reads", async () => {
    const client = await dial(bus.port);
    client.socket.pause();
    const text = "x".repeat(MAX_PAYLOAD);
    const count = Math.ceil((3 * MAX_BUFFERED) / MAX_PAYLOAD);
    client.send(request("ECHO", text).repeat(count));
    for (let i = 0; i < 20; i++) await stillServes();
    expect(entries.filter(({ level }) => level === "warn")).toEqual([]);
    client.socket.resume();
    const answer = `$${MAX_PAYLOAD}\r\n${text}\r\n`;
    for (let i = 0; i < count; i++) {
      if ((await client.read(answer.length)) !== answer) throw new Error(`answer ${i}`);
    }
    expect(await client.ask(request("PING"), "+PONG\r\n")).toBe("+PONG\r\n");
  });

  test("frees all state of a client that disconnects while it is sent data", async () => {
    const [leaver, speaker] = [await dial(bus.port), await dial(bus.port)];
    leaver.send(request("SUBSCRIBE", "gone"));
    await leaver.read("*3\r\n$9\r\nsubscribe\r\n$4\r\ngone\r\n:1\r\n".length);
    leaver.socket.pause();
    for (let i = 0; i < 20; i++)
      await speaker.ask(request("PUBLISH", "gone", "x".repeat(MAX_PAYLOAD)), ":1\r\n");
    leaver.socket.resetAndDestroy();
    while (
      (await speaker.ask(request("PUBSUB", "NUMSUB", "gone"), "*2\r\n$4\r\ngone\r\n:0\r\n")).endsWith(
        ":1\r\n",
      )
    ) {
      await Bun.sleep(5);
    }
    await stillServes();
  });

  test("reports a port in use as a one-line error", async () => {
    const second = createEmbeddedBus({ port: bus.port, maxPayload: MIB, maxBuffered: MIB, log });
    expect(second.subscribe(["to"], new RecordingListener())).rejects.toThrow(
      `The embedded bus cannot listen on port ${bus.port} of 127.0.0.1: the port is in use.`,
    );
    await stillServes();
  });

  test("with a password no client can publish or subscribe before AUTH", async () => {
    const guarded = createEmbeddedBus({
      port: 0,
      maxPayload: MIB,
      maxBuffered: MIB,
      password: "pässword",
      log,
    });
    await guarded.subscribe(["to"], new RecordingListener());
    try {
      const client = await dial(guarded.port);
      const secret = Buffer.from("pässword").toString("latin1");
      const session: [string, string][] = [
        [request("PING"), "-NOAUTH Authentication required.\r\n"],
        [request("PUBLISH", "to:a:b", "x"), "-NOAUTH Authentication required.\r\n"],
        [request("PSUBSCRIBE", "*"), "-NOAUTH Authentication required.\r\n"],
        [request("AUTH", "wrong"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n"],
        [request("AUTH", "default", secret), "+OK\r\n"],
        [request("PING"), "+PONG\r\n"],
        [request("RESET"), "+RESET\r\n"],
        [request("PING"), "-NOAUTH Authentication required.\r\n"],
        [request("HELLO", "2", "AUTH", "default", secret), "*14\r\n$6\r\nserver\r\n"],
      ];
      for (const [asked, expected] of session) expect(await client.ask(asked, expected)).toBe(expected);
      const stranger = await dial(guarded.port);
      expect(await stranger.ask(request("HELLO", "3"), "-NOAUTH HELLO must")).toBe("-NOAUTH HELLO must");
    } finally {
      await guarded.stop();
    }
  });
});

async function output(command: string[], input = ""): Promise<string> {
  const program = Bun.spawn(command, { stdin: Buffer.from(input), stdout: "pipe" });
  programs.push(program);
  return await new Response(program.stdout).text();
}

function linesOf(stream: ReadableStream<Uint8Array>): Inbox<string> {
  const lines = new Inbox<string>("redis-cli", (line) => line);
  void (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) lines.put(line);
    }
    lines.end("redis-cli ended");
  })();
  return lines;
}
