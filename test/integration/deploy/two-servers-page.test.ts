import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Socket } from "phoenix";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { Inbox, short } from "../inbox.ts";
import { blocksOf } from "../page-blocks.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";

/*
 * The blocks of docs/nginx.md about two servers: with a real Redis, nginx and two servers. Replaced are only addresses,
 * ports, folders and the host name.
 */

const ROOT = join(import.meta.dir, "../../..");
const JWT_SECRET = "a-long-secret-that-nobody-could-guess";
const ADMIN_SECRET = "a-long-admin-secret-that-nobody-could-guess";
const NGINX_PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin`;

let folder: string;
let redis: RedisProcess;
let nginx: Bun.Subprocess | null = null;
let before: string | undefined;
const servers: ChannelProcess[] = [];
const HOSTS = ["127.0.0.5", "127.0.0.6"];
const front = freePort();
const port = freePort();

const blocks = (language: string): string[] => blocksOf("nginx.md", language);

function here(text: string): string {
  return text
    .replaceAll("10.0.0.4:6379", `127.0.0.1:${redis?.port}`)
    .replaceAll("10.0.0.4", "127.0.0.1")
    .replaceAll("10.0.0.5", "127.0.0.5")
    .replaceAll("10.0.0.6", "127.0.0.6")
    .replaceAll(/(127\.0\.0\.[56]):2025/g, `$1:${port}`)
    .replaceAll("https://channel.example.org", `https://localhost:${front}`)
    .replaceAll("channel.example.org", "localhost")
    .replaceAll("/etc/", `${folder}/etc/`);
}

async function run(block: string): Promise<string> {
  const child = Bun.spawn(["sh", "-eu", "-c", here(block)], {
    cwd: ROOT,
    env: { PATH: process.env.PATH ?? "", ADMIN_SECRET },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${block} ended with ${code}: ${out}${err}`);
  return out;
}

beforeAll(async () => {
  before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  // The certificate of the page is its own authority.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  folder = mkdtempSync(join(tmpdir(), "channel-two-servers-"));
  for (const name of ["etc/nginx/conf.d", "etc/redis", "log"])
    mkdirSync(join(folder, name), { recursive: true });

  const [conf = "", users = ""] = blocks("");
  writeFileSync(join(folder, "etc/redis/users.acl"), users);
  redis = await startRedis(
    here(conf)
      .trim()
      .split("\n")
      .flatMap((line) => {
        const [name = "", ...value] = line.split(" ");
        return [`--${name}`, ...value];
      }),
  );

  const [toml = ""] = blocks("toml");
  const secrets = `jwt_secret = "${JWT_SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;
  for (const [name, host] of [
    ["eu-1", "10.0.0.5"],
    ["eu-2", "10.0.0.6"],
  ] as const) {
    const own = toml
      .replace('"eu-1"', `"${name}"`)
      .replace('host = "10.0.0.5"', `host = "${host}"`)
      .replace('node_url = "http://10.0.0.5', `node_url = "http://${host}`);
    servers.push(await startChannel({ toml: `${secrets}${here(own)}`, port }));
  }

  const [prepare = ""] = blocks("sh");
  await run(prepare);
  const file = join(folder, "etc/nginx/conf.d/channel.conf");
  const shipped = readFileSync(file, "utf8")
    .replace("listen 443 ssl", `listen 127.0.0.1:${front} ssl`)
    .replaceAll("/etc/ssl", `${folder}/etc/ssl`)
    .replaceAll("/var/log/nginx", `${folder}/log`)
    .replace("channel.example.org", "localhost");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  writeFileSync(file, shipped);
  writeFileSync(
    join(folder, "nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""} daemon off; pid ${folder}/nginx.pid; error_log ${folder}/log/error.log;
     events { worker_connections 512; } http { ${temporary.join(" ")} include ${file}; }`,
  );
  const program = Bun.which("nginx", { PATH: NGINX_PATH });
  if (program === null) throw new Error("no nginx on this machine");
  const args = ["-p", folder, "-e", join(folder, "log/error.log"), "-c", join(folder, "nginx.conf")];
  nginx = Bun.spawn([program, ...args], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
}, 120_000);

afterAll(async () => {
  if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  nginx?.kill("SIGTERM");
  await nginx?.exited;
  for (const server of servers) server.kill("SIGKILL");
  await Promise.all(servers.map((server) => server.exited));
  await redis?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("two servers behind nginx with TLS, set up by the page, are one hub", async () => {
  const [, check = ""] = blocks("sh");
  const listed = await eventually(
    async () => {
      const answer = await run(check).catch(() => "");
      return answer.split('"state":"up"').length === 3 ? answer : null;
    },
    "both servers in the answer",
    30_000,
  );
  for (const name of ["eu-1", "eu-2"]) expect(listed).toContain(`"name":"${name}"`);

  const token = mint({ id: "ann", channel: "room" }, JWT_SECRET);
  const sockets: Socket[] = [];
  const received = new Inbox<unknown>("clients", (message) => short(JSON.stringify(message)));
  for (let i = 0; i < 6; i++) {
    const socket = new Socket(`wss://localhost:${front}/websocket`, { params: { userToken: token } });
    sockets.push(socket);
    socket.connect();
    const channel = socket.channel("room", { token });
    channel.on("n", (message) => received.put(message));
    await new Promise((resolve, reject) => {
      channel.join().receive("ok", resolve).receive("error", reject);
    });
  }
  const backend = new Bun.RedisClient(`redis://backend:backend-redis-password@127.0.0.1:${redis.port}`);
  expect(await backend.publish("to:room:n", '{"n":1}')).toBe(2);
  for (const _ of sockets) expect(await received.next()).toEqual({ n: 1 });
  await expect(backend.publish("hub:node", "forged")).rejects.toThrow(/NOPERM|No permissions/);
  backend.close();
  for (const socket of sockets) socket.disconnect();

  const connected = async (): Promise<number[]> => {
    const bodies = await Promise.all(HOSTS.map(metricsOf));
    return bodies.map((body) => Number(/^channel_joins_total (\d+)/m.exec(body)?.[1] ?? 0));
  };
  // least_conn: both servers got clients.
  expect(Math.min(...(await connected()))).toBeGreaterThan(0);
  for (const { lines } of servers) {
    const warnings = lines.filter(
      ({ level, message }) => /warn|error/.test(level) && !message.includes("open files"),
    );
    expect(warnings.map(({ message }) => message)).toEqual([]);
  }
}, 60_000);

test("one server: the host name of both files is replaced", async () => {
  const [, , commands = ""] = blocks("sh");
  const placing = commands.split("\n").filter((line) => line.startsWith("sed "));
  expect(placing.length).toBe(2);
  const own = join(folder, "one");
  for (const name of ["etc/nginx/conf.d", "etc/channel"]) mkdirSync(join(own, name), { recursive: true });
  for (const line of placing) {
    const child = Bun.spawn(["sh", "-eu", "-c", line.replace("/etc/", `${own}/etc/`)], { cwd: ROOT });
    expect(await child.exited).toBe(0);
  }
  const written = ["etc/nginx/conf.d/channel.conf", "etc/channel/channel.toml"];
  const named = written.map((name) => readFileSync(join(own, name), "utf8"));
  expect(named[0]).toContain("server_name channel.your-name.org;");
  expect(named[1]).toContain('"https://channel.your-name.org"');
  expect(named.join("").includes("example.org")).toBe(false);
});

test("each alert of the documentation is about metrics that the servers have", async () => {
  const page = readFileSync(join(ROOT, "docs/monitoring.md"), "utf8");
  const rules = [...page.matchAll(/^ *- alert: (\w+)\n *expr: (.*)$/gm)];
  expect(rules.length).toBeGreaterThan(8);
  const body = await metricsOf("127.0.0.5");
  const known = new Set([...body.matchAll(/^# HELP (\S+)/gm)].map(([, name]) => name));
  for (const [, alert, expr = ""] of rules) {
    const names = expr.match(/\b(channel|process)_\w+/g) ?? [];
    expect([alert, names.filter((name) => !known.has(name))]).toEqual([alert, []]);
  }
  const fleet = readFileSync(join(ROOT, "docs/fleet.md"), "utf8");
  const named = new Set(fleet.match(/`Channel[A-Z]\w+`/g)?.map((name) => name.slice(1, -1)));
  const alerts = new Set(rules.map(([, alert]) => alert));
  expect([...named].filter((name) => !alerts.has(name))).toEqual([]);
});

test("nginx and the kernel know the settings for many connections", () => {
  const [kernel = "", main = ""] = blocksOf("many-connections.md", "text");
  const file = join(folder, "many.conf");
  writeFileSync(
    file,
    `${main} pid ${folder}/many.pid; http { include ${folder}/etc/nginx/conf.d/channel.conf; }`,
  );
  const program = Bun.which("nginx", { PATH: NGINX_PATH }) ?? "nginx";
  const checked = Bun.spawnSync(
    [program, "-t", "-p", folder, "-e", join(folder, "log/error.log"), "-c", file],
    {
      stderr: "pipe",
    },
  );
  expect([checked.exitCode, checked.stderr.toString()]).toEqual([
    0,
    expect.stringContaining("is successful"),
  ]);
  const keys = [...kernel.matchAll(/^(net\.\S+) = /gm)].map(([, key = ""]) => key);
  expect(keys.length).toBe(4);
  const unknown = keys.filter((key) => !existsSync(join("/proc/sys", key.replaceAll(".", "/"))));
  expect(unknown).toEqual([]);
});

async function metricsOf(host: string): Promise<string> {
  const headers = { authorization: `Bearer ${ADMIN_SECRET}` };
  const answer = await fetch(`http://${host}:${port}/metrics`, { headers });
  return answer.text();
}
