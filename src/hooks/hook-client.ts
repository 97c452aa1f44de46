import { createHmac } from "node:crypto";

/** Why a hook gave no answer. */
export type HookFailure =
  /** No connection, or it was closed before the answer was complete. */
  | "unreachable"
  | "timeout"
  /** More bytes than `MAX_ANSWER`. */
  | "answer too large"
  /** Too many requests wait for this host. */
  | "busy";

/** An answer of any status. Redirects are not followed. */
export interface HookAnswer {
  readonly status: number;
  /** UTF-8, at most `MAX_ANSWER` bytes. */
  readonly body: string;
}

export interface HookRequest {
  readonly url: string;
  /** JSON text. */
  readonly body: string;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Time for the whole exchange once it has begun, in ms. */
  readonly timeout: number;
  /** `performance.now()` until which the request may wait for its turn. */
  readonly startBy: number;
}

/** Requests to one host at once, and those that wait for one of them. */
const MAX_AT_ONCE = 100;
const MAX_WAITING = 10_000;

/** Bytes of an answer. */
const MAX_ANSWER = 1024 * 1024;

interface Host {
  running: number;
  /** Called with whether it may begin. */
  readonly waiting: ((begin: boolean) => void)[];
}

/**
 * Sends signed requests to the application: `x-channel-signature: t=<Unix time in s>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">`.
 * Connections are kept alive. An application that is slow, gone or hostile costs time and memory within these bounds.
 */
export class HookClient {
  readonly #secret: string;
  readonly #hosts = new Map<string, Host>();

  constructor(secret: string) {
    this.#secret = secret;
  }

  /** Requests that run or wait. */
  get pending(): number {
    let pending = 0;
    for (const { running, waiting } of this.#hosts.values()) pending += running + waiting.length;
    return pending;
  }

  /** Sends a POST. Never rejects. */
  async post(request: HookRequest): Promise<HookAnswer | HookFailure> {
    const { host } = new URL(request.url);
    const state = this.#hosts.get(host) ?? { running: 0, waiting: [] };
    this.#hosts.set(host, state);
    if (state.running >= MAX_AT_ONCE) {
      if (state.waiting.length >= MAX_WAITING) return "busy";
      if (!(await turn(state, request.startBy))) return "timeout";
    } else state.running++;
    try {
      return await send(request, this.#secret);
    } finally {
      const next = state.waiting.shift();
      // The next one takes over the place.
      if (next === undefined) state.running--;
      else next(true);
      if (state.running === 0 && state.waiting.length === 0) this.#hosts.delete(host);
    }
  }
}

/** Waits until another request of the host ends; `false` once `startBy` has passed. */
function turn(host: Host, startBy: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const begin = (may: boolean): void => {
    clearTimeout(timer);
    resolve(may);
  };
  const timer = setTimeout(
    () => {
      const index = host.waiting.indexOf(begin);
      if (index >= 0) host.waiting.splice(index, 1);
      resolve(false);
    },
    Math.max(0, startBy - performance.now()),
  );
  host.waiting.push(begin);
  return promise;
}

async function send(
  { url, body, headers, timeout }: HookRequest,
  secret: string,
): Promise<HookAnswer | HookFailure> {
  const signal = AbortSignal.timeout(timeout);
  try {
    const response = await fetch(url, {
      method: "POST",
      body,
      headers: {
        ...headers,
        "content-type": "application/json",
        "x-channel-signature": hookSignature(secret, body),
      },
      redirect: "manual",
      signal,
    });
    const text = await read(response);
    return text === null ? "answer too large" : { status: response.status, body: text };
  } catch {
    return signal.aborted ? "timeout" : "unreachable";
  }
}

/** The value of `x-channel-signature`. @param now Unix time in ms */
export function hookSignature(secret: string, body: string, now = Date.now()): string {
  const time = Math.floor(now / 1000);
  const digest = createHmac("sha256", secret).update(`${time}.`).update(body).digest("hex");
  return `t=${time},v1=${digest}`;
}

/** The body; `null` if it is too large: the rest is not read. */
async function read(response: Response): Promise<string | null> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    // Leaving the loop cancels the body.
    if (size > MAX_ANSWER) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
