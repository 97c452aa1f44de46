/**
 * Shared by both demos: starts a Channel server and a web application, which knows the server's secret and makes
 * signed calls for its users.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sign } from "../../src/auth/signature.ts";
import { startServer } from "../server.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** Access of the web application to the server. */
export interface Backend {
  /** URL for browsers. */
  readonly url: string;
  /** Makes a signed call; throws if it is rejected. */
  call(method: "POST" | "PATCH" | "DELETE", path: string, body: unknown): Promise<Fields>;
}

/** Actions by name, the path below `/app/`. An error that an action throws is sent to the page. */
export type Actions = Readonly<Record<string, (parameters: Fields) => Promise<unknown>>>;

export interface Demo {
  /** Folder with `index.html` and `page.ts`; both demos share `style.css`. */
  readonly folder: string;
  readonly title: string;
  readonly port: number;
  readonly actions: (backend: Backend) => Actions;
}

/** Starts both, prints the URL, and runs until a signal stops it. */
export async function run({ folder, title, port, actions }: Demo): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: "string", default: String(port) } } });
  const backend = await startChannel();
  const handlers = actions(backend);
  const built = await Bun.build({ entrypoints: [join(folder, "page.ts")], target: "browser" });
  const [script] = built.outputs;
  if (script === undefined) throw new Error("page.ts could not be built");
  const css = Bun.file(join(import.meta.dir, "style.css"));
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
      "/style.css": new Response(css),
      "/app/:action": {
        POST: async (request) => {
          const action = Object.hasOwn(handlers, request.params.action)
            ? handlers[request.params.action]
            : undefined;
          if (action === undefined) return Response.json({ error: "unknown action" }, { status: 404 });
          try {
            return Response.json((await action(fieldsOf(await request.json()))) ?? {});
          } catch (error) {
            const message = error instanceof Error ? error.message : String(error);
            return Response.json({ error: message }, { status: 400 });
          }
        },
      },
    },
  });
  console.log(`${title}: open http://127.0.0.1:${web.port}/ in two windows`);
}

/** Starts a server with a new secret for the web application. */
async function startChannel(): Promise<Backend> {
  const secret = crypto.randomUUID();
  const { url } = await startServer({ env: { CHANNELSTREAM_SECRET: secret } });
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
      const result: unknown = await response.json();
      if (!response.ok) throw new Error(`${path}: ${JSON.stringify(result)}`);
      return Array.isArray(result) ? { list: result } : fieldsOf(result);
    },
  };
}

/** The value if it is an object, otherwise an empty object. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

/** A required string field, trimmed. Throws if it is missing or blank. */
export function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value.trim() === "") throw new Error(`${name} is missing`);
  return value.trim();
}
