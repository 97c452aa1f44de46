/**
 * What the two demonstrations share: a Channel server of their own, and a web application beside it that knows its secret
 * and speaks for its users by signed calls.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sign } from "../../src/auth/signature.ts";

const ROOT = join(import.meta.dir, "../..");

export type Fields = Readonly<Record<string, unknown>>;

/** The server, as the web application sees it. */
export interface Backend {
  /** Where browsers find it. */
  readonly url: string;
  /** A signed call; throws where it is refused. */
  call(method: "POST" | "PATCH" | "DELETE", path: string, body: unknown): Promise<Fields>;
}

/** What a page asks the application for: a path below `/app/`, and the fields it sent. Throws what the page is told. */
export type Actions = Readonly<Record<string, (asked: Fields) => Promise<unknown>>>;

export interface Demo {
  /** Folder that holds `index.html` and `page.ts`. */
  readonly folder: string;
  readonly title: string;
  readonly port: number;
  readonly actions: (backend: Backend) => Actions;
}

/** Starts both, prints the address, and runs until it is stopped. */
export async function run({ folder, title, port, actions }: Demo): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: "string", default: String(port) } } });
  const backend = await startChannel();
  const known = actions(backend);
  const built = await Bun.build({ entrypoints: [join(folder, "page.ts")], target: "browser" });
  const [script] = built.outputs;
  if (script === undefined) throw new Error("the page's script could not be built");
  const page = await Bun.file(join(folder, "index.html")).text();

  const web = Bun.serve({
    hostname: "127.0.0.1",
    port: Number(values.port),
    development: false,
    routes: {
      "/": new Response(page.replace("{server}", backend.url), {
        headers: { "content-type": "text/html; charset=utf-8" },
      }),
      "/page.js": new Response(script, { headers: { "content-type": "text/javascript; charset=utf-8" } }),
      "/app/:action": {
        POST: async (request) => {
          const action = Object.hasOwn(known, request.params.action)
            ? known[request.params.action]
            : undefined;
          if (action === undefined) return Response.json({ error: "no such action" }, { status: 404 });
          try {
            return Response.json((await action(fieldsOf(await request.json()))) ?? {});
          } catch (error) {
            const sentence = error instanceof Error ? error.message : "it did not work";
            return Response.json({ error: sentence }, { status: 400 });
          }
        },
      },
    },
  });
  console.log(`${title}: open http://127.0.0.1:${web.port}/ in two windows`);
}

/** A server of this demonstration's own, with a secret that only the web application has. */
async function startChannel(): Promise<Backend> {
  const secret = crypto.randomUUID();
  const binary = process.env.CHANNEL_BIN ?? join(ROOT, "dist/channel");
  const command = existsSync(binary) ? [binary] : [process.execPath, join(ROOT, "src/main.ts")];
  const bus = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const args = ["--port", "0", "--bus", "embedded", "--redis-url", `redis://127.0.0.1:${bus.port}`];
  bus.stop(true);
  const child = Bun.spawn([...command, "serve", ...args, "--log-format", "json"], {
    // No settings but these: none of the folder that this was started in, none of the shell's.
    cwd: import.meta.dir,
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "/", CHANNELSTREAM_SECRET: secret },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const end = () => {
    child.kill();
    process.exit(0);
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  process.on("exit", () => child.kill());

  const url = await listening(child.stderr);
  return {
    url,
    async call(method, path, body) {
      const response = await fetch(url + path, {
        method,
        headers: {
          "content-type": "application/json",
          "x-channelstream-secret": sign(path, secret, Date.now()),
        },
        body: JSON.stringify(body),
      });
      const answer: unknown = await response.json();
      if (!response.ok) throw new Error(`${path}: ${JSON.stringify(answer)}`);
      return Array.isArray(answer) ? { list: answer } : fieldsOf(answer);
    },
  };
}

/** The address in the line of the log that says where it listens; what comes after is read and dropped. */
async function listening(log: ReadableStream<Uint8Array>): Promise<string> {
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

/** An object, whatever it holds; anything else is an empty one. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

/** A field that must be text with something in it. */
export function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value.trim() === "") throw new Error(`${name} is missing`);
  return value.trim();
}
