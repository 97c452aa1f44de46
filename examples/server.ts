/** Starts the Channel server of an example. */
import { existsSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

export interface ServerOptions {
  /** Variables of the server; none of the shell's. */
  readonly env: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Default: a free port. */
  readonly port?: number;
  /** Default: an embedded bus on a free port. */
  readonly redisUrl?: string | undefined;
}

export interface Server {
  /** URL for browsers. */
  readonly url: string;
  readonly redisUrl: string;
}

/** A port that is free at the moment, below those that systems take for outgoing connections. */
export function freePort(): number {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
      return port;
    } catch {
      // It is in use.
    }
  }
}

/** Starts the executable, or the sources if it is not built. It ends with this process. */
export async function startServer({ env, args = [], port = 0, redisUrl }: ServerOptions): Promise<Server> {
  const binary = process.env.CHANNEL_BIN ?? join(ROOT, "dist/channel");
  const command = existsSync(binary) ? [binary] : [process.execPath, join(ROOT, "src/main.ts")];
  const bus = redisUrl === undefined ? "embedded" : "redis";
  const address = redisUrl ?? `redis://127.0.0.1:${freePort()}`;
  const flags = ["--port", String(port), "--bus", bus, "--redis-url", address, "--log-format", "json"];
  const child = Bun.spawn([...command, "serve", ...flags, ...args], {
    // Ignore configuration files of the current folder and environment variables of the shell.
    cwd: import.meta.dir,
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "/", ...env },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  process.on("SIGTERM", () => process.exit(0));
  process.on("SIGINT", () => process.exit(0));
  process.on("exit", () => child.kill());
  return { url: await readUrl(child.stderr), redisUrl: address };
}

/** Reads the URL from the log line "listening". Later log lines are read and discarded. */
async function readUrl(log: ReadableStream<Uint8Array>): Promise<string> {
  const reader = log.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the server did not start:\n${text}`);
    text += decoder.decode(value, { stream: true });
    const url = /"message":"listening","url":"([^"]+)"/.exec(text)?.[1];
    if (url === undefined) continue;
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return url;
  }
}
