/**
 * `bun examples/start.ts fastapi` (or django, express, react): starts Channel with new secrets, and the example.
 * `--port N` is its port. With `REDIS_URL` Channel and the application use that Redis, else an embedded bus.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePort, startServer } from "./server.ts";

interface Example {
  /** Its port; in channel.toml too. */
  readonly port: number;
  /** The processes of the application; none: Channel serves the page. */
  readonly commands: readonly string[][];
}

const EXAMPLES: Readonly<Record<string, Example>> = {
  fastapi: { port: 8082, commands: ["app.py", "worker.py"].map((file) => ["python3", file]) },
  django: { port: 8083, commands: [[], ["worker"]].map((args) => ["python3", "app.py", ...args]) },
  express: { port: 8084, commands: ["app.js", "worker.js"].map((file) => ["node", file]) },
  react: { port: 8085, commands: [] },
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { port: { type: "string" } } });
const [name = ""] = positionals;
const example = EXAMPLES[name];
if (example === undefined) throw new Error(`name one of ${Object.keys(EXAMPLES).join(", ")}, not "${name}"`);
const folder = join(import.meta.dir, name);
const port = Number(values.port ?? example.port) || freePort();
const url = `http://127.0.0.1:${port}`;
const work = mkdtempSync(join(tmpdir(), "channel-example-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

const secret = () => randomBytes(32).toString("base64");
const secrets = { HOOK_SECRET: secret() };
const common = { redisUrl: process.env.REDIS_URL };
const config = ["--config", configuration(join(folder, "channel.toml"), example.port)];

if (example.commands.length > 0) {
  // The page comes from the application.
  const server = { ...common, env: { ...secrets, JWT_SECRET: secret(), ALLOWED_ORIGINS: url }, args: config };
  await startApplication(example.commands, await startServer(server));
} else {
  await buildPage();
  await startServer({
    ...common,
    port,
    env: { JWT_SECRET: secret() },
    args: [...config, "--static-path", work],
  });
}
console.log(`open ${url}/ in two windows`);

/** Starts the processes of the application, and waits until it answers. */
async function startApplication(
  commands: readonly string[][],
  channel: { readonly url: string; readonly redisUrl: string },
): Promise<void> {
  const env = {
    ...process.env,
    ...secrets,
    SESSION_SECRET: secret(),
    PORT: String(port),
    CHANNEL_URL: channel.url,
    REDIS_URL: channel.redisUrl,
  };
  for (const command of commands) {
    const child = Bun.spawn(command, { cwd: folder, env, stdio: ["ignore", "inherit", "inherit"] });
    process.on("exit", () => child.kill());
    void child.exited.then((code) => {
      console.error(`${command.join(" ")} ended with ${code}`);
      process.exit(1);
    });
  }
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  )
    await Bun.sleep(50);
}

async function buildPage(): Promise<void> {
  await Bun.build({
    entrypoints: [join(folder, "index.html")],
    outdir: work,
    target: "browser",
    minify: true,
    define: { "process.env.NODE_ENV": '"production"' },
  });
}

/** A configuration file, with the port of the example if that is not the one in the file. */
function configuration(file: string, written: number): string {
  if (port === written) return file;
  const copy = join(work, ".channel.toml");
  writeFileSync(copy, readFileSync(file, "utf8").replaceAll(`:${written}/`, `:${port}/`));
  return copy;
}
