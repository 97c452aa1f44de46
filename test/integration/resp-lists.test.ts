import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createEmbeddedBus, type EmbeddedBus } from "../../src/bus/embedded/embedded-bus.ts";
import { RecordingListener, recordingLog } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { startRedis } from "./redis-process.ts";
import { RespClient, request } from "./resp-client.ts";

const MIB = 1024 * 1024;
const NOT_INTEGER = "-ERR value is not an integer or out of range\r\n";
const NOT_POSITIVE = "-ERR value is out of range, must be positive\r\n";

const clients: RespClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function dial(port: number): Promise<RespClient> {
  const client = await RespClient.connect(port);
  clients.push(client);
  return client;
}

/** Sessions that Redis and the embedded bus must answer alike, byte for byte. */
const SESSIONS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  "items of a list": [
    [request("LLEN", "a"), ":0\r\n"],
    [request("LPOP", "a"), "$-1\r\n"],
    [request("LPOP", "a", "2"), "*-1\r\n"],
    [request("RPUSH", "a", "1", "\xff\0\r\n", ""), ":3\r\n"],
    [request("rpush", "a", "4"), ":4\r\n"],
    [request("LLEN", "a"), ":4\r\n"],
    [request("LPOP", "a"), "$1\r\n1\r\n"],
    [request("LPOP", "a", "0"), "*0\r\n"],
    [request("LPOP", "a", "2"), "*2\r\n$4\r\n\xff\0\r\n\r\n$0\r\n\r\n"],
    [request("LPOP", "a", "9"), "*1\r\n$1\r\n4\r\n"],
    [request("LLEN", "a"), ":0\r\n"],
    [request("LPOP", "a", "-1"), NOT_POSITIVE],
    [request("LPOP", "a", "x"), NOT_POSITIVE],
    [request("RPUSH", "a"), "-ERR wrong number of arguments for 'rpush' command\r\n"],
    [request("LPOP", "a", "1", "2"), "-ERR wrong number of arguments for 'lpop' command\r\n"],
    [request("LLEN"), "-ERR wrong number of arguments for 'llen' command\r\n"],
  ],
  "the end of a list": [
    [request("RPUSH", "b", "1"), ":1\r\n"],
    [request("RPUSH", "\xfe", "1"), ":1\r\n"],
    [request("DEL", "b", "\xfe", "none", "b"), ":2\r\n"],
    [request("LLEN", "b"), ":0\r\n"],
    [request("EXPIRE", "b", "10"), ":0\r\n"],
    [request("RPUSH", "b", "1"), ":1\r\n"],
    [request("EXPIRE", "b", "100", "XX"), ":0\r\n"],
    [request("EXPIRE", "b", "100", "nx"), ":1\r\n"],
    [request("EXPIRE", "b", "200", "NX"), ":0\r\n"],
    [request("EXPIRE", "b", "50", "GT"), ":0\r\n"],
    [request("EXPIRE", "b", "200", "XX", "GT"), ":1\r\n"],
    [request("EXPIRE", "b", "300", "LT"), ":0\r\n"],
    [request("EXPIRE", "b", "x"), NOT_INTEGER],
    [request("EXPIRE", "b", "99999999999999999999"), NOT_INTEGER],
    [request("EXPIRE", "b", "10", "Never"), "-ERR Unsupported option Never\r\n"],
    [
      request("EXPIRE", "b", "10", "NX", "GT"),
      "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n",
    ],
    [
      request("EXPIRE", "b", "10", "GT", "LT"),
      "-ERR GT and LT options at the same time are not compatible\r\n",
    ],
    [request("LLEN", "b"), ":1\r\n"],
    [request("EXPIRE", "b", "0"), ":1\r\n"],
    [request("LLEN", "b"), ":0\r\n"],
    [request("RPUSH", "b", "1"), ":1\r\n"],
    [request("EXPIRE", "b", "-5"), ":1\r\n"],
    [request("LPOP", "b"), "$-1\r\n"],
    [request("DEL"), "-ERR wrong number of arguments for 'del' command\r\n"],
    [request("EXPIRE", "b"), "-ERR wrong number of arguments for 'expire' command\r\n"],
  ],
  "BLPOP of lists that have items, and for a time": [
    [request("RPUSH", "d", "1", "2"), ":2\r\n"],
    [request("BLPOP", "c", "d", "0"), "*2\r\n$1\r\nd\r\n$1\r\n1\r\n"],
    [request("blpop", "d", "c", "1.5"), "*2\r\n$1\r\nd\r\n$1\r\n2\r\n"],
    [request("BLPOP", "c", "d", "0.05"), "*-1\r\n"],
    [request("BLPOP", "c", "x"), "-ERR timeout is not a float or out of range\r\n"],
    [request("BLPOP", "c", "-1"), "-ERR timeout is negative\r\n"],
    [request("BLPOP", "c"), "-ERR wrong number of arguments for 'blpop' command\r\n"],
    [request("LLEN", "d"), ":0\r\n"],
  ],
};

interface Server {
  readonly port: number;
  end(): Promise<void>;
}

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  Redis: async () => {
    const redis = await startRedis();
    return { port: redis.port, end: () => redis.stop() };
  },
  "the embedded bus": async () => {
    const bus = createEmbeddedBus({
      port: 0,
      maxPayload: 4 * MIB,
      maxBuffered: 64 * MIB,
      log: recordingLog().log,
    });
    await bus.subscribe(["to"], new RecordingListener());
    return { port: bus.port, end: () => bus.stop() };
  },
};

describe.each(Object.keys(SERVERS))("lists, as served by %s", (kind) => {
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

  test("BLPOP blocks its own connection only, and requests behind it are answered after it", async () => {
    const [waiting, other] = [await dial(server.port), await dial(server.port)];
    waiting.send(request("BLPOP", "w", "0") + request("PING"));
    waiting.send(request("ECHO", "x".repeat(100_000)));
    expect(await other.ask(request("PING"), "+PONG\r\n")).toBe("+PONG\r\n");
    waiting.send(request("ECHO", "cut").slice(0, 10));
    expect(await other.ask(request("RPUSH", "w", "a"), ":1\r\n")).toBe(":1\r\n");
    const echoed = `$100000\r\n${"x".repeat(100_000)}\r\n`;
    const expected = `*2\r\n$1\r\nw\r\n$1\r\na\r\n+PONG\r\n${echoed}`;
    expect(await waiting.read(expected.length)).toBe(expected);
    expect(await waiting.ask(request("ECHO", "cut").slice(10), "$3\r\ncut\r\n")).toBe("$3\r\ncut\r\n");
    // Blocks again, with a request behind it that blocks too.
    waiting.send(request("BLPOP", "w", "0") + request("BLPOP", "w", "0") + request("PING"));
    for (const item of ["b", "c"]) {
      await other.ask(request("RPUSH", "w", item), ":1\r\n");
      const popped = `*2\r\n$1\r\nw\r\n$1\r\n${item}\r\n`;
      expect(await waiting.read(popped.length)).toBe(popped);
    }
    expect(await waiting.read(7)).toBe("+PONG\r\n");
  });

  test("those that wait get an item each, in their order", async () => {
    const other = await dial(server.port);
    const waiting: RespClient[] = [];
    for (let i = 0; i < 100; i++) {
      const client = await dial(server.port);
      // With the reply to PING, what follows it in the same write is handled.
      client.send(request("PING") + request("BLPOP", "none", "many", "0"));
      expect(await client.read(7)).toBe("+PONG\r\n");
      expect(await other.ask(request("PING"), "+PONG\r\n")).toBe("+PONG\r\n");
      waiting.push(client);
    }
    const popped = (item: string): string => `*2\r\n$4\r\nmany\r\n$2\r\n${item}\r\n`;
    const items = Array.from({ length: 100 }, (_, i) => String(i).padStart(2, "0"));
    expect(await other.ask(request("RPUSH", "many", ...items.slice(0, 2)), ":2\r\n")).toBe(":2\r\n");
    expect(await other.ask(request("RPUSH", "many", ...items.slice(2), "left"), ":99\r\n")).toBe(":99\r\n");
    for (const [i, client] of waiting.entries()) {
      const expected = popped(items[i] ?? "");
      expect(await client.read(expected.length)).toBe(expected);
    }
    expect(await other.ask(request("LLEN", "many"), ":1\r\n")).toBe(":1\r\n");
  });

  test("replies in RESP3", async () => {
    const client = await dial(server.port);
    client.send(request("HELLO", "3") + request("ECHO", "ready"));
    await client.readTo("$5\r\nready\r\n");
    for (const asked of [request("LPOP", "r"), request("LPOP", "r", "1"), request("BLPOP", "r", "0.01")]) {
      expect(await client.ask(asked, "_\r\n")).toBe("_\r\n");
    }
  });

  test.each(["-2", "-3"])("redis-cli %s", async (protocol) => {
    const cli = ["redis-cli", "-h", "127.0.0.1", "-p", String(server.port), protocol];
    const lines = ["rpush k 'a b' c", "llen k", "lpop k", "blpop k 1", "rpush k d", "expire k 9", "del k"];
    const child = Bun.spawn(cli, { stdin: Buffer.from(`${lines.join("\n")}\n`), stdout: "pipe" });
    expect(await new Response(child.stdout).text()).toBe("2\n2\na b\nk\nc\n1\n1\n1\n");
  });

  test.each([2, 3])("Python's redis package with protocol %d", async (protocol) => {
    const script = `
import json, redis, sys, threading
port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(host="localhost", port=port, protocol=protocol, decode_responses=True, socket_timeout=None)
out = [r.rpush("q", "a", "b", "c"), r.llen("q"), r.lpop("q"), r.lpop("q", 5), r.lpop("q"), r.blpop("q", 0.05)]
got = []
threads = [threading.Thread(target=lambda: got.append(r.blpop(["other", "q"], 30))) for _ in range(4)]
for each in threads: each.start()
out.append(sum(r.rpush("q", i) > 0 for i in range(4)))
for each in threads: each.join()
out.append(sorted(got))
out += [r.rpush("q", 1), r.expire("q", 10), r.expire("q", 5, gt=True), r.delete("q", "none"), r.llen("q")]
print(json.dumps(out))
`;
    const child = Bun.spawn([findPython(), "-c", script, String(server.port), String(protocol)], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const printed = await new Response(child.stdout).text();
    expect(await new Response(child.stderr).text()).toBe("");
    const served = ["0", "1", "2", "3"].map((item) => ["q", item]);
    expect(JSON.parse(printed)).toEqual([
      ...[3, 3, "a", ["b", "c"], null, null, 4, served],
      ...[1, true, false, 1, 0],
    ]);
  });
});

describe("lists of the embedded bus, with untrusted clients", () => {
  let bus: EmbeddedBus;
  beforeAll(async () => {
    bus = createEmbeddedBus({
      port: 0,
      maxPayload: 64 * 1024,
      maxBuffered: 8 * MIB,
      log: recordingLog().log,
    });
    await bus.subscribe(["to"], new RecordingListener());
  });
  afterAll(() => bus.stop());

  const OOM = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

  test("have a limited size, number of items and names", async () => {
    const client = await dial(bus.port);
    const large = request("RPUSH", "large", "x".repeat(60_000));
    let pushed = 0;
    client.send(large.repeat(200));
    for (let i = 0; i < 200; i++) {
      const line = await client.readTo("\r\n");
      if (line.startsWith(":")) pushed++;
      else expect(line).toBe(OOM);
    }
    // 8 MiB, less what each item costs besides its bytes.
    expect(pushed).toBe(139);
    expect(await client.ask(request("RPUSH", "other", "x".repeat(60_000)), OOM)).toBe(OOM);
    expect(await client.ask(request("DEL", "large"), ":1\r\n")).toBe(":1\r\n");

    const names = Array.from({ length: 1000 }, (_, i) => `list ${i}`);
    client.send(names.map((name) => request("RPUSH", name, "x")).join(""));
    expect(await client.read(4 * names.length)).toBe(":1\r\n".repeat(names.length));
    expect(await client.ask(request("RPUSH", "one more", "x"), OOM)).toBe(OOM);
    expect(await client.ask(request("RPUSH", "list 0", "x"), ":2\r\n")).toBe(":2\r\n");
    expect(await client.ask(request("DEL", ...names), ":1000\r\n")).toBe(":1000\r\n");
    const long = "-ERR a name of more than 1024 bytes\r\n";
    expect(await client.ask(request("RPUSH", "n".repeat(1025), "x"), long)).toBe(long);
    expect(await client.ask(request("BLPOP", "n".repeat(1025), "0"), long)).toBe(long);
    const many = "-ERR too many lists to wait for\r\n";
    expect(await client.ask(request("BLPOP", ...names.slice(0, 17), "0"), many)).toBe(many);
    // All room is free again.
    client.send(large.repeat(139));
    for (let i = 1; i <= 139; i++) expect(await client.readTo("\r\n")).toBe(`:${i}\r\n`);
    await client.ask(request("DEL", "large"), ":1\r\n");
  });

  test("memory of items that are taken is free, in a list that never becomes empty", async () => {
    const client = await dial(bus.port);
    await client.ask(request("RPUSH", "steady", "first"), ":1\r\n");
    const round = request("RPUSH", "steady", "x".repeat(60_000)) + request("LPOP", "steady");
    for (let i = 0; i < 1000; i++) {
      client.send(round);
      expect(await client.readTo("\r\n")).toBe(":2\r\n");
      expect(await client.readTo("\r\n")).toStartWith("$");
      await client.readTo("\r\n");
    }
    expect(await client.ask(request("DEL", "steady"), ":1\r\n")).toBe(":1\r\n");
  });

  test("a client that waits may not send without end", async () => {
    const client = await dial(bus.port);
    client.send(request("BLPOP", "flood", "0"));
    const echo = request("ECHO", "x".repeat(60_000));
    for (let i = 0; i < 40; i++) client.send(echo);
    expect(await client.ended()).toBe("-ERR too many requests behind one that waits\r\n");
    const other = await dial(bus.port);
    expect(await other.ask(request("RPUSH", "flood", "x"), ":1\r\n")).toBe(":1\r\n");
    expect(await other.ask(request("LPOP", "flood"), "$1\r\nx\r\n")).toBe("$1\r\nx\r\n");
  });

  test("an item for a client that has ended goes to the next one", async () => {
    const other = await dial(bus.port);
    const gone = await dial(bus.port);
    gone.send(request("BLPOP", "ended", "0"));
    gone.close();
    // Until the server has noticed the end, an item may be lost with the connection, as with Redis.
    await eventually(async () => {
      await other.ask(request("RPUSH", "ended", "x"), ":1\r\n");
      return (await other.ask(request("LLEN", "ended"), ":1\r\n")) === ":1\r\n";
    }, "an item that stays");
  });

  test("a stopped bus ends clients that wait", async () => {
    const stopped = createEmbeddedBus({
      port: 0,
      maxPayload: 64 * 1024,
      maxBuffered: 8 * MIB,
      log: recordingLog().log,
    });
    await stopped.subscribe(["to"], new RecordingListener());
    const client = await dial(stopped.port);
    client.send(request("PING") + request("BLPOP", "q", "0"));
    await client.read(7);
    await stopped.stop();
    expect(await client.ended()).toBe("");
    expect(await stopped.queues?.push("q", "{}", 1000)).toBe("away");
  });
});
