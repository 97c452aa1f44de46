import { type Frame, parseFrame, type Version } from "../phoenix-client.ts";
import { hereHeaders } from "../world.ts";

/** The body of an answer under `/longpoll`. */
export interface Answer {
  readonly status: number;
  readonly token: string | undefined;
  readonly messages: readonly string[];
  /** The HTTP status. */
  readonly http: number;
  readonly headers: Headers;
}

export interface PollOptions {
  readonly vsn?: Version | null;
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A long-poll session, request by request. */
export interface Poller {
  /** The newest token, as in phoenix.js. */
  readonly token: string;
  poll(options?: Pick<PollOptions, "signal" | "headers">): Promise<Answer>;
  /** Sends lines as phoenix.js does. */
  post(...lines: readonly string[]): Promise<Answer>;
  postBody(body: string | Uint8Array<ArrayBuffer>, type: string): Promise<Answer>;
  /** Polls until a frame matches. Resolves with all frames, including those in the same answer. */
  until(match: (frame: Frame) => boolean): Promise<Frame[]>;
}

export function addressOf(url: string, { vsn = "2.0.0", params = {} }: PollOptions, token?: string): string {
  const query = new URLSearchParams(params);
  if (vsn !== null) query.set("vsn", vsn);
  if (token !== undefined) query.append("token", token);
  return `${url}/longpoll?${query}`;
}

/** Sends a request, and parses the answer strictly. */
export async function ask(address: string, init: RequestInit = {}): Promise<Answer> {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(hereHeaders(address))) {
    if (!headers.has(name)) headers.set(name, value);
  }
  const response = await fetch(address, { ...init, headers });
  const text = await response.text();
  const body: unknown = JSON.parse(text);
  if (typeof body !== "object" || body === null || !("status" in body) || typeof body.status !== "number") {
    throw new Error(`no answer of a long poll: ${text}`);
  }
  const token = "token" in body && typeof body.token === "string" ? body.token : undefined;
  const messages = "messages" in body && Array.isArray(body.messages) ? body.messages.map(String) : [];
  return { status: body.status, token, messages, http: response.status, headers: response.headers };
}

/** The first request of a session. */
export function begin(url: string, options: PollOptions = {}): Promise<Answer> {
  return ask(addressOf(url, options), { headers: { ...options.headers } });
}

/** A session whose token is not used yet. */
export async function startPoller(url: string, options: PollOptions = {}): Promise<Poller> {
  const { token, status } = await begin(url, options);
  if (status !== 410 || token === undefined) throw new Error(`no session began: ${status}`);
  return pollerOf(url, token, options);
}

/** The session of a token, of any origin. */
export function pollerOf(url: string, token: string, options: PollOptions = {}): Poller {
  let newest = token;
  const address = (): string => addressOf(url, options, newest);
  const send = (body: string | Uint8Array<ArrayBuffer>, type: string): Promise<Answer> =>
    ask(address(), { method: "POST", body, headers: { ...options.headers, "content-type": type } });
  const poll: Poller["poll"] = async ({ signal, headers } = {}) => {
    const answer = await ask(address(), {
      headers: { ...options.headers, ...headers },
      ...(signal === undefined ? {} : { signal }),
    });
    if (answer.status === 200 || answer.status === 204) newest = answer.token ?? newest;
    return answer;
  };
  return {
    get token() {
      return newest;
    },
    poll,
    post: (...lines) => send(lines.join("\n"), "application/x-ndjson"),
    postBody: send,
    until: async (match) => {
      const frames: Frame[] = [];
      for (;;) {
        const { status, messages } = await poll();
        if (status !== 200 && status !== 204) throw new Error(`the poll was answered with ${status}`);
        frames.push(...messages.map((each) => frameOf(each, options.vsn ?? "2.0.0")));
        if (frames.some(match)) return frames;
      }
    },
  };
}

export function frameOf(text: string, vsn: Version): Frame {
  return parseFrame({ binary: false, data: Buffer.from(text) }, vsn);
}

/** The value of one series in `/metrics`, e.g. `channel_connections{protocol="phoenix"}`; 0 if it is absent. */
export async function metric(url: string, series: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { headers: hereHeaders(url) })).text();
  const line = text.split("\n").find((each) => each.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}
