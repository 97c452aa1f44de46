/**
 * Runs inside name spaces of its own: `bun installed.ts nginx|caddy`. Everything stands where the files of deploy/ say:
 * Redis on 6379, the server on 2025 with channel.toml, the proxy on 443, channel.example.org in /etc/hosts. Prints one
 * line of JSON with what a visitor sees, and what the server's log says.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LongPoll, Socket } from "phoenix";
import { CERTIFICATE, KEY } from "../../unit/config/certificate.ts";
import { channelBinary } from "../channel-process.ts";
import { eventually } from "../phoenix-client.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy");
const SITE = "https://channel.example.org";
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin`;
const START_MS = 20_000;
const HEAR_MS = 15_000;

/** What a visitor sees, step by step. */
export interface Visit {
  readonly health: number;
  readonly ready: number;
  readonly page: number;
  /** `POST /token` by the site's own page with the admin secret; by a page of another site; for another host name. */
  readonly token: number;
  readonly foreignOrigin: number;
  readonly foreignHost: number;
  /** What a joined client received, by transport. */
  readonly heard: Readonly<Record<string, unknown>>;
  readonly log: string;
}

const folder = mkdtempSync(join(tmpdir(), "channel-installed-"));

function start(command: readonly string[], name: string, env: Readonly<Record<string, string>> = {}): void {
  const [program = "", ...args] = command;
  const output = Bun.file(join(folder, `${name}.log`));
  Bun.spawn([Bun.which(program, { PATH }) ?? program, ...args], {
    cwd: folder,
    env: { PATH, HOME: folder, ...env },
    stdin: "ignore",
    stdout: output,
    stderr: output,
  });
}

/** nginx' own main file does no more for conf.d than this. */
function startNginx(): void {
  mkdirSync("/etc/ssl/channel", { recursive: true });
  writeFileSync("/etc/ssl/channel/certificate.pem", CERTIFICATE);
  writeFileSync("/etc/ssl/channel/key.pem", KEY, { mode: 0o600 });
  mkdirSync("/var/log/nginx", { recursive: true });
  const main = join(folder, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  writeFileSync(
    main,
    `user root; daemon off; pid ${folder}/nginx.pid; events { worker_connections 512; }
     http { ${temporary.join(" ")} include ${DEPLOY}/nginx.conf; }`,
  );
  start(["nginx", "-p", folder, "-c", main], "nginx");
}

/** The one thing that cannot be as it lies: no authority of the world signs for a machine without a network. */
function startCaddy(): void {
  const adapt = ["caddy", "adapt", "--config", join(DEPLOY, "Caddyfile"), "--adapter", "caddyfile"];
  const adapted = Bun.spawnSync(adapt, { env: { PATH, HOME: folder }, stdout: "pipe", stderr: "pipe" });
  if (adapted.exitCode !== 0) throw new Error(adapted.stderr.toString());
  const config = JSON.parse(adapted.stdout.toString());
  config.apps.tls = { automation: { policies: [{ issuers: [{ module: "internal" }] }] } };
  config.apps.pki = { certificate_authorities: { local: { install_trust: false } } };
  writeFileSync(join(folder, "caddy.json"), JSON.stringify(config));
  start(["caddy", "run", "--config", join(folder, "caddy.json")], "caddy");
}

const status = async (path: string, init: RequestInit = {}): Promise<number> =>
  (await fetch(`${SITE}${path}`, init)).status;

/** Joins by phoenix.js, and gives what a backend then publishes. */
function hear(transport: "websocket" | "longpoll", token: string): Promise<unknown> {
  const socket = new Socket(`${SITE.replace("https", "wss")}/websocket`, {
    ...(transport === "longpoll" ? { transport: LongPoll } : {}),
  });
  socket.connect();
  const channel = socket.channel("context", { token });
  return new Promise((resolve, reject) => {
    channel.on("news", resolve);
    channel
      .join()
      .receive("ok", () => void publish().catch(reject))
      .receive("error", (reason) => resolve(reason));
    setTimeout(() => resolve(`nothing within ${HEAR_MS} ms`), HEAR_MS);
  }).finally(() => socket.disconnect());
}

async function publish(): Promise<void> {
  const client = new Bun.RedisClient("redis://127.0.0.1:6379");
  await client.publish("to:context:news", '"hello"');
  client.close();
}

async function visit(proxy: string): Promise<Visit> {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  const secrets = { jwt_secret: "a".repeat(40), admin_secret: "b".repeat(40) };
  for (const [name, secret] of Object.entries(secrets)) writeFileSync(join(folder, name), secret);
  copyFileSync(join(DEPLOY, "channel.toml"), join(folder, "channel.toml"));
  start(["redis-server", "--save", "", "--appendonly", "no"], "redis");
  // As the unit starts it.
  start([channelBinary(), "serve", "--config", join(folder, "channel.toml"), "--bus", "redis"], "channel", {
    JWT_SECRET_FILE: join(folder, "jwt_secret"),
    ADMIN_SECRET_FILE: join(folder, "admin_secret"),
  });
  if (proxy === "nginx") startNginx();
  else startCaddy();
  const log = () => readFileSync(join(folder, "channel.log"), "utf8");
  // Whatever it answers: that it is not 200 is what the test wants to see.
  await eventually(
    () =>
      status("/health").then(
        (code) => code < 500 && log().includes("listening"),
        () => false,
      ),
    proxy,
    START_MS,
  );
  // Redis may have come last; the proxies leave out a server that is not ready.
  await eventually(async () => (await status("/ready")) !== 503, "a live bus", START_MS).catch(() => {});
  const ask = (headers: Readonly<Record<string, string>>) =>
    fetch(`${SITE}/token`, {
      method: "POST",
      headers: { authorization: `Bearer ${secrets.admin_secret}`, ...headers },
      body: '{"channel":"context","id":"alice"}',
    });
  const own = await ask({ origin: SITE });
  const token = own.ok ? String(Object(await own.json()).token) : "";
  return {
    health: await status("/health"),
    ready: await status("/ready"),
    page: await status("/"),
    token: own.status,
    foreignOrigin: (await ask({ origin: "https://elsewhere.example" })).status,
    foreignHost: (await ask({ host: "elsewhere.example" })).status,
    heard: { websocket: await hear("websocket", token), longpoll: await hear("longpoll", token) },
    log: log(),
  };
}

console.log(JSON.stringify(await visit(process.argv[2] ?? "")));
process.exit(0);
