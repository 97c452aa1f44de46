import { Inbox, short } from "./inbox.ts";
import { ADMIN_SECRET } from "./world.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the tests check what the answer holds
  readonly body: any;
}

export interface Call {
  readonly method?: "GET" | "POST" | "DELETE" | "OPTIONS" | "PUT";
  /** Sent as JSON; makes the method POST. */
  readonly body?: unknown;
  /** The bearer secret; `null` for none. Default: the admin secret. */
  readonly secret?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Calls the API of the server at `url`. */
export async function call(url: string, path: string, options: Call = {}): Promise<Answer> {
  const { body, secret = ADMIN_SECRET, headers = {} } = options;
  const response = await fetch(url + path, {
    method: options.method ?? (body === undefined ? "GET" : "POST"),
    headers: {
      ...(secret === null ? {} : { authorization: `Bearer ${secret}` }),
      ...headers,
    },
    redirect: "manual",
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** Signs in as a browser does. Returns the cookie. */
export async function signIn(url: string): Promise<string> {
  const response = await fetch(`${url}/admin/sign_in`, {
    method: "POST",
    body: JSON.stringify({ secret: ADMIN_SECRET }),
  });
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

export interface Seen {
  readonly direction: string;
  readonly event: string;
  readonly agent: string | null;
  readonly size: number;
  readonly json?: string;
  readonly base64?: string;
  readonly cut: boolean;
}

export interface Stream {
  readonly status: number;
  readonly messages: Inbox<Seen>;
  readonly skipped: () => number;
  readonly ended: Promise<void>;
  stop(): void;
}

/** Inspects the messages of a channel until it is stopped. Resolves when the response has started. */
export async function readAlong(
  url: string,
  channel: string,
  headers: Readonly<Record<string, string>> = { authorization: `Bearer ${ADMIN_SECRET}` },
): Promise<Stream> {
  const aborter = new AbortController();
  const response = await fetch(`${url}/api/channels/${encodeURIComponent(channel)}/messages`, {
    headers,
    signal: aborter.signal,
  });
  const messages = new Inbox<Seen>(`inspector of ${channel}`, (each) => short(JSON.stringify(each)));
  let skipped = 0;
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of response.body ?? []) {
      const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        if (!event.startsWith("data: ")) continue;
        const batch = JSON.parse(event.slice(6));
        skipped += batch.skipped;
        for (const message of batch.messages) messages.put(message);
      }
    }
  };
  const ended = read().catch(() => undefined);
  return { status: response.status, messages, skipped: () => skipped, ended, stop: () => aborter.abort() };
}
