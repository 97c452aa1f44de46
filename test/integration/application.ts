import { createHmac } from "node:crypto";
import { Inbox, short } from "./inbox.ts";

export const HOOK_SECRET = "the secret of the hooks of these tests";

/** A request for authorization, as the application gets it. */
export interface Asked {
  readonly channel: string;
  readonly user?: string;
  readonly params: unknown;
  readonly address: string;
  /** The body as it came. */
  readonly text: string;
  readonly headers: Headers;
  /** The port of the connection at the server's end. */
  readonly port: number;
}

/** An application of a test, on loopback. */
export interface Application {
  readonly url: string;
  /** Every request, in order. */
  readonly asked: Inbox<Asked>;
  /** Requests that are being answered. */
  readonly running: number;
  /** The most of them at one time. */
  most: number;
  /** Answers requests; by default everything is allowed. */
  answer: (asked: Asked, request: Request) => unknown;
  stop(): Promise<void>;
}

export const allow = (fields: object = {}): Response => Response.json({ allow: true, ...fields });
export const deny = (fields: object = {}): Response => Response.json({ allow: false, ...fields });

/** Starts an application that checks the signature of each request. A value that is no `Response` is its JSON. */
export function startApplication(): Application {
  const asked = new Inbox<Asked>("application", ({ text }) => short(text));
  let running = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    async fetch(request, bun) {
      application.most = Math.max(application.most, ++running);
      try {
        const text = await request.text();
        if (!isSigned(request.headers, text)) return new Response("not signed", { status: 403 });
        const port = bun.requestIP(request)?.port ?? 0;
        const one: Asked = { ...JSON.parse(text), text, headers: request.headers, port };
        asked.put(one);
        const answer = await application.answer(one, request);
        return answer instanceof Response ? answer : Response.json(answer);
      } finally {
        running--;
      }
    },
  });
  const application: Application = {
    url: `http://127.0.0.1:${server.port}/authorize`,
    asked,
    get running() {
      return running;
    },
    most: 0,
    answer: () => ({ allow: true }),
    stop: () => server.stop(true),
  };
  return application;
}

function isSigned(headers: Headers, body: string): boolean {
  const [, time = "", digest] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers.get("x-channel-signature") ?? "") ?? [];
  const isRecent = Math.abs(Number(time) - Date.now() / 1000) < 60;
  return isRecent && digest === createHmac("sha256", HOOK_SECRET).update(`${time}.${body}`).digest("hex");
}
