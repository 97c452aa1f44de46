import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { startChannel } from "./channel-process.ts";
import { Folders, runCommand } from "./cli-process.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

const ERRORS = join(import.meta.dir, "../../docs/errors.md");

const folders = new Folders();
const ends: (() => unknown)[] = [];
let redis: RedisProcess;

beforeAll(async () => {
  redis = await startRedis(["--client-output-buffer-limit", "pubsub 0 0 0"]);
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

afterAll(async () => {
  await redis?.stop();
  folders.remove();
});

interface Finding {
  readonly name: string;
  readonly status: string;
  readonly found: string;
  readonly remedy: string | null;
}

interface Examined {
  readonly code: number;
  readonly ok: boolean;
  /** The findings of one name. */
  of(name: string): readonly Finding[];
  /** `name: status` of all. */
  readonly statuses: readonly string[];
}

/** Runs `channel doctor` with this `channel.toml`. */
async function examine(toml: string, redisUrl = redis.url): Promise<Examined> {
  const cwd = folders.create();
  writeFileSync(join(cwd, "channel.toml"), `redis_url = "${redisUrl}"\n${toml}`, { mode: 0o600 });
  const { code, out, err } = await runCommand(["doctor", "--json"], { cwd });
  expect(err).toBe("");
  for (const secret of [SECRET, ADMIN_SECRET, "hunter2"]) expect(out).not.toContain(secret);
  const { ok, checks }: { ok: boolean; checks: Finding[] } = JSON.parse(out);
  for (const { status, remedy } of checks)
    if (status === "failed" || status === "warning") expect(remedy).toBeString();
  return {
    code,
    ok,
    of: (name) => checks.filter((check) => check.name === name),
    statuses: checks.map(({ name, status }) => `${name}: ${status}`),
  };
}

/** A configuration with secrets, and a limit of clients that every machine allows. */
function settings(port: number, more = ""): string {
  const secrets = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;
  return `port = ${port}\n${secrets}${more}\n[limits]\nmax_connections = 100\n`;
}

async function serve(port: number, more = ""): Promise<void> {
  const server = await startChannel({ port, toml: `redis_url = "${redis.url}"\n${settings(port, more)}` });
  ends.push(() => server.stop());
}

test("an invalid configuration is the only finding, with exit code 2", async () => {
  const { code, ok, statuses, of } = await examine("prot = 1");
  expect([code, ok, statuses]).toEqual([2, false, ["configuration: failed"]]);
  expect(of("configuration")[0]?.found).toContain("unknown key prot; did you mean port?");
});

test("without a server, what can be checked is", async () => {
  const { code, statuses } = await examine(settings(freePort(), 'public_url = "http://127.0.0.1:1"'));
  expect(code).toBe(0);
  expect(statuses).toEqual([
    "configuration: ok",
    "open files: ok",
    "certificate: skipped",
    "redis: ok",
    "redis role: ok",
    "redis version: ok",
    "redis acl: ok",
    "redis output buffers: ok",
    "clock: ok",
    "token: ok",
    "server: skipped",
    "join: skipped",
    "public address: skipped",
  ]);
});

test("a table in text, each remedy below its finding", async () => {
  const cwd = folders.create();
  const { code, out } = await runCommand(
    ["doctor", "--redis-url", `redis://:hunter2@127.0.0.1:${freePort()}`],
    {
      cwd,
    },
  );
  expect(code).toBe(1);
  expect(out).toMatch(/^failed {3}redis {17}127\.0\.0\.1:\d+: connection refused\n {31}-> start Redis, /m);
  expect(out).toMatch(/\n1 failed, \d warnings?\n$/);
  expect(out).not.toContain("hunter2");
});

describe("redis", () => {
  test("a replica cannot be the bus", async () => {
    const replica = await startRedis(["--replicaof", "127.0.0.1", String(redis.port)]);
    ends.push(() => replica.stop());
    const { code, of } = await examine(settings(freePort()), replica.url);
    expect(code).toBe(1);
    expect(of("redis role")[0]).toMatchObject({
      status: "failed",
      found: `it is a replica of 127.0.0.1:${redis.port} (role slave), and only a master is a bus`,
    });
  });

  async function withRights(rights: readonly string[], more = ""): Promise<Examined> {
    const asking = new Bun.RedisClient(redis.url);
    await asking.send("ACL", ["DELUSER", "limited"]);
    await asking.send("ACL", ["SETUSER", "limited", "on", ">hunter2", "resetchannels", ...rights]);
    asking.close();
    return examine(settings(freePort(), more), redis.url.replace("redis://", "redis://limited:hunter2@"));
  }

  /** The rights of the page, of the line and of what it adds for a feature. */
  const page = readFileSync(ERRORS, "utf8");
  const line = /ACL SETUSER channel on >your-password resetchannels (.*)/.exec(page)?.[1]?.split(" ") ?? [];
  const added = (feature: string): string[] =>
    page.match(new RegExp(`With \`${feature}\` also \`([^\`]*)\``))?.[1]?.split(" ") ?? [];

  test("the rights that docs/errors.md lists are enough", async () => {
    const { of } = await withRights(line);
    expect(of("redis acl")).toMatchObject([{ status: "ok" }]);
    const history = '[channels."*"]\nhistory = 10\nhistory_store = "redis"\n';
    const stored = await withRights([...line, ...added('history_store = "redis"')], history);
    expect(stored.of("redis acl")).toMatchObject([{ status: "ok" }]);
    const without = await withRights(line, history);
    expect(without.of("redis acl")[0]?.found).toContain("+xadd");
  });

  test("so are those that it adds for webhooks, calls and workers, and each is named where it is missing", async () => {
    const hook =
      'hook_secret = "a-secret-for-requests-to-the-application"\nwebhook = "http://127.0.0.1:1/"\n';
    for (const [more, rights] of [
      [hook, added("webhook")],
      ['[channels."*"]\ncalls = ["find"]\n', ["&call:*", "&reply:*"]],
      ["workers = 2\n", added("workers")],
      [
        '[channels."*"]\ncalls = ["find"]\ncall_to = "queue:work"\n',
        ["&reply:*", "~queue:*", "+rpush", "+llen"],
      ],
    ] as const) {
      const { of } = await withRights([...line, ...rights], more);
      expect(of("redis acl")).toMatchObject([{ status: "ok" }]);
      const without = await withRights(line, more);
      const found = without
        .of("redis acl")
        .map((finding) => finding.found)
        .join(" ")
        .split(" ");
      // Redis names the command first, and the key only where the command is permitted.
      for (const right of rights.filter((each) => !each.startsWith("~"))) expect(found).toContain(right);
    }
    expect([added("webhook").length > 5, added("workers")]).toEqual([true, ["+punsubscribe"]]);
    for (const right of ["&call:*", "&reply:*", "~queue:*", "+rpush", "+llen"]) expect(page).toContain(right);
  });

  test("each of them is needed, and named where it is missing", async () => {
    const asked = line.filter(
      (right) =>
        right.startsWith("+") &&
        !["+subscribe", "+ping", "+client|setname", "+exec", "+multi"].includes(right),
    );
    expect(asked.length).toBeGreaterThan(15);
    const { code, of } = await withRights(["&*", "~*", "+multi"]);
    expect(code).toBe(1);
    const found = of("redis acl").map((finding) => finding.found);
    for (const right of asked) expect(found.join(" ").split(" ")).toContain(right);
    expect(of("redis acl").map(({ status }) => status)).toEqual(["failed", "warning"]);
  });

  test("names the channels and keys that are missing", async () => {
    const { of } = await withRights(["&from:*", "~mine:*", "+@all"]);
    const [first, second] = of("redis acl");
    expect(first).toMatchObject({ status: "failed", found: "messages are refused: &to:* missing" });
    expect(second?.found.split(" ").filter((word) => /^[&~]/.test(word))).toEqual([
      "&push:*",
      "&hub:*",
      "~hub:*",
    ]);
  });

  test("executes nothing where MULTI is not permitted", async () => {
    const asking = new Bun.RedisClient(redis.url);
    await asking.send("SET", ["hub:doctor", "kept"]);
    const { of } = await withRights(line.filter((right) => right !== "+multi"));
    expect(of("redis acl")[0]).toMatchObject({
      status: "warning",
      remedy: expect.stringContaining("+multi +exec"),
    });
    await withRights(line);
    expect(await asking.send("GET", ["hub:doctor"])).toBe("kept");
    await asking.send("DEL", ["hub:doctor"]);
    asking.close();
  });
});

describe("the server", () => {
  test("accepts a token of its configuration, and none of another", async () => {
    const port = freePort();
    await serve(port);
    const same = await examine(settings(port));
    expect(same.code).toBe(0);
    expect(same.statuses).toContain("server: ok");
    expect(same.of("join")).toMatchObject([{ status: "ok" }]);
    const other = await examine(settings(port).replace(SECRET, "another-secret-that-is-long-enough-too"));
    expect(other.code).toBe(1);
    expect(other.of("join")[0]).toMatchObject({ status: "failed" });
  });

  test("may have the embedded bus", async () => {
    const [port, busPort] = [freePort(), freePort()];
    const toml = settings(port, `bus = "embedded"`);
    const url = `redis://127.0.0.1:${busPort}`;
    const server = await startChannel({ port, toml: `redis_url = "${url}"\n${toml}` });
    ends.push(() => server.stop());
    const { code, of, statuses } = await examine(toml, url);
    expect(code).toBe(0);
    expect(of("redis")).toMatchObject([{ status: "ok", found: "not used: the bus is embedded" }]);
    expect(statuses).toContain("join: ok");
  });

  test("is not confused with another program", async () => {
    const stranger = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });
    ends.push(() => stranger.stop(true));
    const { of } = await examine(settings(stranger.port ?? 0));
    expect(of("server")[0]?.found).toStartWith("another program answers at ");
  });
});

/** A proxy that changes the head of the first request of each connection; `null` closes it. */
async function startProxy(target: number, change: (head: string) => string | null): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    let head = "";
    const read = (chunk: Buffer): void => {
      head += chunk.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      client.off("data", read);
      const changed = change(head.slice(0, end));
      if (changed === null) client.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
      else {
        upstream.write(`${changed}${head.slice(end)}`, "latin1");
        client.pipe(upstream);
        upstream.pipe(client);
      }
    };
    client.on("data", read);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("the proxy of public_url", () => {
  const TRUSTED = 'trusted_proxies = ["127.0.0.1"]';
  const asClient = (head: string) =>
    `${head.replace(/\r\nx-forwarded-for:.*/i, "")}\r\nX-Forwarded-For: 198.51.100.7`;

  async function through(change: (head: string) => string | null, more: string): Promise<Examined> {
    const port = freePort();
    const proxy = await startProxy(port, change);
    const toml = `public_url = "http://127.0.0.1:${proxy}"\n${more}`;
    await serve(port, toml);
    return examine(settings(port, toml));
  }

  test("names clients and lets sockets through", async () => {
    const { code, of } = await through(asClient, TRUSTED);
    expect(code).toBe(0);
    expect(of("proxy upgrade")).toMatchObject([{ status: "ok" }]);
    expect(of("proxy headers")).toMatchObject([
      { status: "ok", found: "the server sees this client as 198.51.100.7" },
    ]);
  });

  test("is not trusted", async () => {
    const { code, of } = await through(asClient, "");
    expect(code).toBe(1);
    expect(of("proxy headers")).toMatchObject([
      { status: "failed", remedy: expect.stringContaining("trusted_proxies") },
    ]);
  });

  test("passes on what clients say of their address", async () => {
    const { of } = await through((head) => head, TRUSTED);
    expect(of("proxy headers")).toMatchObject([
      { status: "failed", found: expect.stringContaining("clients can forge their address") },
    ]);
  });

  test("lets no socket through", async () => {
    const { of } = await through((head) => (/\r\nupgrade:/i.test(head) ? null : head), TRUSTED);
    expect(of("proxy upgrade")).toMatchObject([
      { status: "failed", remedy: expect.stringContaining("Upgrade and Connection") },
    ]);
  });

  test("changes the host", async () => {
    const { of } = await through(
      (head) => asClient(head.replace(/\r\nhost:.*/i, "\r\nHost: upstream")),
      TRUSTED,
    );
    expect(of("public address")).toMatchObject([
      {
        status: "failed",
        found: expect.stringContaining("answers 403: Host name"),
        remedy: expect.stringContaining("Host"),
      },
    ]);
  });

  test("does not answer", async () => {
    const port = freePort();
    await serve(port);
    const { code, of } = await examine(settings(port, `public_url = "http://127.0.0.1:${freePort()}"`));
    expect(code).toBe(1);
    expect(of("public address")).toMatchObject([{ status: "failed" }]);
  });
});
