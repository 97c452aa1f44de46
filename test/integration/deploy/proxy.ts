import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CERTIFICATE, KEY } from "../../unit/config/certificate.ts";
import { eventually } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy");

/** A proxy that runs with the configuration of deploy/, only places and addresses changed. */
export interface FrontProxy {
  /** `https://localhost:PORT`, or `http:` where there is no TLS. */
  readonly url: string;
  /** Everything that it has written down so far, of whatever kind. */
  written(): string;
  stop(): Promise<void>;
}

export type ProxyName = "nginx" | "caddy";

const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin`;

/** A text in which something has to be replaced: a configuration that changed must not pass untested. */
function changed(text: string, changes: readonly (readonly [from: string, to: string])[]): string {
  return changes.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`the configuration has no ${JSON.stringify(from)} any more`);
    return before.replaceAll(from, to);
  }, text);
}

function forNginx(folder: string, port: number, servers: readonly number[], tls: boolean): string[] {
  const text = readFileSync(join(DEPLOY, "nginx.conf"), "utf8");
  const one = "server 127.0.0.1:2025 max_fails=0;";
  const inner = changed(text, [
    [one, servers.map((server) => one.replace("2025", String(server))).join(" ")],
    ["listen 443 ssl", `listen 127.0.0.1:${port}${tls ? " ssl" : ""}`],
    ["channel.example.org", "localhost"],
    ["/etc/ssl/channel", folder],
    ["/var/log/nginx", folder],
  ]);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  writeFileSync(join(folder, "certificate.pem"), CERTIFICATE);
  writeFileSync(join(folder, "key.pem"), KEY, { mode: 0o600 });
  writeFileSync(
    join(folder, "nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""} daemon off; pid ${folder}/nginx.pid; error_log ${folder}/other.log;
     events { worker_connections 512; }
     http { access_log off; ${temporary.join(" ")}\n${inner}}`,
  );
  return ["nginx", "-p", folder, "-e", join(folder, "other.log"), "-c", join(folder, "nginx.conf")];
}

function forCaddy(folder: string, port: number, servers: readonly number[], tls: boolean): string[] {
  const text = readFileSync(join(DEPLOY, "Caddyfile"), "utf8");
  const list = servers.map((server) => `127.0.0.1:${server}`).join(" ");
  const inner = changed(text, [
    ["127.0.0.1:2025", list],
    // A name of this machine gets a certificate of Caddy's own authority.
    ["channel.example.org {", `${tls ? "https" : "http"}://localhost:${port} {`],
    ["{\n\t# Tokens", "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n\t# Tokens"],
  ]);
  writeFileSync(join(folder, "Caddyfile"), inner);
  return ["caddy", "run", "--config", join(folder, "Caddyfile"), "--adapter", "caddyfile"];
}

/** Starts it before servers of ours; resolves when a request comes through. */
export async function startProxy(
  name: ProxyName,
  servers: readonly number[],
  tls = true,
): Promise<FrontProxy> {
  const folder = mkdtempSync(join(tmpdir(), `channel-${name}-`));
  const port = freePort();
  const [program = "", ...args] = (name === "nginx" ? forNginx : forCaddy)(folder, port, servers, tls);
  const found = Bun.which(program, { PATH });
  if (found === null) throw new Error(`no ${program} on this machine`);
  mkdirSync(join(folder, "home"));
  const output = join(folder, "output.log");
  const child = Bun.spawn([found, ...args], {
    cwd: folder,
    env: { PATH, HOME: join(folder, "home") },
    stdin: "ignore",
    stdout: Bun.file(output),
    stderr: Bun.file(join(folder, "errors.log")),
  });
  const written = () =>
    readdirSync(folder)
      .map((file) => join(folder, file))
      .filter((file) => file.endsWith(".log") && statSync(file).isFile())
      .map((file) => readFileSync(file, "utf8"))
      .join("\n");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  };
  const url = `${tls ? "https" : "http"}://localhost:${port}`;
  try {
    await eventually(
      () =>
        fetch(`${url}/health`, { tls: { rejectUnauthorized: false } }).then(
          ({ ok }) => ok,
          () => false,
        ),
      name,
      15_000,
    );
  } catch (error) {
    const told = written();
    await stop();
    throw new Error(`${String(error)}\n${told}`);
  }
  return { url, written, stop };
}
