import { createHmac } from "node:crypto";

/** Why a hook gave no answer. */
export type HookFailure =
  /** No connection, or it was closed before the answer was complete. */
  | "unreachable"
  | "timeout"
  /** More bytes than `maxAnswer`. */
  | "answer too large"
  /** Too many requests wait for this host. */
  | "busy"
  /** Its `signal` was aborted while it waited. */
  | "cancelled";

/** An answer of any status. Redirects are not followed. */
export interface HookAnswer {
  readonly status: number;
  /** UTF-8, at most `maxAnswer` bytes. */
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
  /** Bytes of the answer; 1 MiB by default. */
  readonly maxAnswer?: number;
  /** Ends its wait for its turn. A request that has begun is finished: the application may count on at most 100 at once. */
  readonly signal?: AbortSignal;
  /** `performance.now()` until which it must have its answer, whenever it began. Default: `timeout` alone. */
  readonly endBy?: number;
}

/** Requests to one host at once, and those that wait for one of them. */
const MAX_AT_ONCE = 100;
const MAX_WAITING = 10_000;

/** Bytes of an answer. */
const MAX_ANSWER = 1024 * 1024;

interface Host {
  running: number;
  /** Called with whether it may begin; the first waits longest. */
  readonly waiting: Set<(begin: boolean) => void>;
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
    for (const { running, waiting } of this.#hosts.values()) pending += running + waiting.size;
    return pending;
  }

  /** Sends a POST. Never rejects. */
  async post(request: HookRequest): Promise<HookAnswer | HookFailure> {
    const { host } = new URL(request.url);
    const state = this.#hosts.get(host) ?? { running: 0, waiting: new Set() };
    this.#hosts.set(host, state);
    if (state.running >= MAX_AT_ONCE) {
      if (state.waiting.size >= MAX_WAITING) return "busy";
      if (!(await turn(state, request))) return request.signal?.aborted ? "cancelled" : "timeout";
    } else state.running++;
    try {
      return await send(request, this.#secret);
    } finally {
      // The next one takes over the place.
      const [next] = state.waiting;
      if (next === undefined) state.running--;
      else next(true);
      if (state.running === 0) this.#hosts.delete(host);
    }
  }
}

/** Waits until another request of the host ends; `false` once `startBy` has passed, or the request is cancelled. */
function turn({ waiting }: Host, { startBy, signal }: HookRequest): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const end = (begin: boolean): void => {
    waiting.delete(end);
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
    resolve(begin);
  };
  const cancel = (): void => end(false);
  const timer = setTimeout(cancel, Math.max(0, startBy - performance.now()));
  signal?.addEventListener("abort", cancel);
  waiting.add(end);
  return promise;
}

async function send(
  { url, body, headers, timeout, endBy = Number.POSITIVE_INFINITY, maxAnswer = MAX_ANSWER }: HookRequest,
  secret: string,
): Promise<HookAnswer | HookFailure> {
  // Also ends the connection of an answer that is too large.
  const abort = new AbortController();
  let late = false;
  const timer = setTimeout(
    () => {
      late = true;
      abort.abort();
    },
    Math.max(0, Math.min(timeout, endBy - performance.now())),
  );
  try {
    const response = await fetch(url, {
      method: "POST",
      body,
      headers: {
        ...headers,
        "content-type": "application/json",
        // A small answer may not unpack to a large one.
        "accept-encoding": "identity",
        "x-channel-signature": hookSignature(secret, body),
      },
      decompress: false,
      redirect: "manual",
      signal: abort.signal,
    });
    const text = await read(response, maxAnswer);
    if (text !== null) return { status: response.status, body: text };
    abort.abort();
    return "answer too large";
  } catch {
    return late ? "timeout" : "unreachable";
  } finally {
    clearTimeout(timer);
  }
}

/** The value of `x-channel-signature`. @param now Unix time in ms */
export function hookSignature(secret: string, body: string, now = Date.now()): string {
  const time = Math.floor(now / 1000);
  const digest = createHmac("sha256", secret).update(`${time}.`).update(body).digest("hex");
  return `t=${time},v1=${digest}`;
}

/** The body; `null` if it is too large: the rest is not read. */
async function read(response: Response, maxAnswer: number): Promise<string | null> {
  if (Number(response.headers.get("content-length")) > maxAnswer) return null;
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > maxAnswer) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
