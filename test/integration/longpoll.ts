import { Inbox, short } from "./inbox.ts";
import type { Closed, RawMessage, RawSocket, Refusal } from "./websocket.ts";

/** Frames in one POST, as in phoenix.js. */
const BATCH = 100;

/** The close code that phoenix.js reports when the session is over. */
const SESSION_GONE = 3410;

interface Answer {
  readonly status: number;
  readonly token: string | null;
  readonly messages: readonly string[];
}

/**
 * A long-poll session with the interface of a raw WebSocket, so that a protocol test runs over both. Frames are sent in
 * consecutive POSTs; it polls until it is closed. It has no pings, and closing it only stops polling.
 */
export async function openLongPoll(
  address: string,
  headers: Readonly<Record<string, string>>,
  received: (message: RawMessage) => void,
): Promise<RawSocket | Refusal> {
  const first = await ask(address, null, { headers: { ...headers } });
  if (first.status !== 410 || first.token === null) {
    return { status: first.status, headers: new Map(), body: "" };
  }
  let token = first.token;
  const aborter = new AbortController();
  const closed = Promise.withResolvers<Closed>();
  const messages = new Inbox<RawMessage>("long poll", ({ data }) => short(data.toString()));
  const silent = (name: string): Inbox<Buffer> => new Inbox<Buffer>(name, (data) => data.toString("hex"));
  const state = { isClosed: false, sending: false };
  let paused: PromiseWithResolvers<void> | null = null;
  const queue: Outgoing[] = [];

  const end = (code: number): void => {
    if (state.isClosed) return;
    state.isClosed = true;
    aborter.abort();
    messages.end(`closed with ${code}`);
    closed.resolve({ code, reason: "" });
  };
  const poll = async (): Promise<void> => {
    while (!state.isClosed) {
      await paused?.promise;
      const answer = await ask(address, token, { headers: { ...headers }, signal: aborter.signal });
      if (answer.status !== 200 && answer.status !== 204) return end(SESSION_GONE);
      token = answer.token ?? token;
      for (const text of answer.messages) {
        const message = { binary: false, data: Buffer.from(text) };
        messages.put(message);
        received(message);
      }
    }
  };
  const send = async (): Promise<void> => {
    if (state.sending) return;
    state.sending = true;
    try {
      for (let next = takeBatch(queue); next !== null && !state.isClosed; next = takeBatch(queue)) {
        const { status } = await ask(address, token, {
          method: "POST",
          body: next.body,
          headers: { ...headers, "content-type": next.type },
          signal: aborter.signal,
        });
        if (status !== 200) end(SESSION_GONE);
      }
    } finally {
      state.sending = false;
    }
  };
  const put = (...outgoing: readonly Outgoing[]): void => {
    queue.push(...outgoing);
    send().catch(() => end(1006));
  };
  poll().catch(() => end(1006));

  return {
    status: 101,
    headers: new Map(),
    messages,
    pings: silent("pings"),
    pongs: silent("pongs"),
    closed: closed.promise,
    get isClosed() {
      return state.isClosed;
    },
    write: (...frames) => put(...frames.map(readFrame)),
    sendText: (text) => put({ text: true, data: Buffer.from(text) }),
    sendBinary: (data) => put({ text: false, data: Buffer.from(data) }),
    ping: () => {},
    answerPings: () => {},
    pause: () => {
      paused ??= Promise.withResolvers<void>();
    },
    resume: () => {
      paused?.resolve();
      paused = null;
    },
    close: (code = 1000) => {
      end(code);
      return closed.promise;
    },
    cut: () => end(1006),
  };
}

interface Outgoing {
  readonly text: boolean;
  readonly data: Buffer<ArrayBuffer>;
}

/** The frames of the next POST. A text with line breaks is sent alone, since one line is one frame. */
function takeBatch(queue: Outgoing[]): { readonly type: string; readonly body: Buffer<ArrayBuffer> } | null {
  const lines: Buffer[] = [];
  while (lines.length < BATCH) {
    const [next] = queue;
    if (next === undefined) break;
    const isLine =
      !next.text || (/^[[{]/.test(next.data.toString("latin1", 0, 1)) && !next.data.includes("\n"));
    if (!isLine && lines.length > 0) break;
    queue.shift();
    if (!isLine) return { type: "application/json", body: next.data };
    lines.push(next.text ? next.data : Buffer.from(next.data.toString("base64")), Buffer.from("\n"));
  }
  if (lines.length === 0) return null;
  return { type: "application/x-ndjson", body: Buffer.concat(lines) };
}

/** The payload of a final, masked frame. */
function readFrame(bytes: Uint8Array): Outgoing {
  const length = (bytes[1] ?? 0) & 127;
  const head = length < 126 ? 2 : length === 126 ? 4 : 10;
  const mask = bytes.subarray(head, head + 4);
  const data = Buffer.from(bytes.subarray(head + 4));
  for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return { text: ((bytes[0] ?? 0) & 15) === 1, data };
}

async function ask(address: string, token: string | null, init: RequestInit): Promise<Answer> {
  const named = token === null ? address : `${address}&token=${encodeURIComponent(token)}`;
  const response = await fetch(named, init);
  const body: unknown = await response.json();
  if (response.status !== 200 || typeof body !== "object" || body === null || !("status" in body)) {
    throw new Error(`no answer of a long poll: ${response.status}`);
  }
  return {
    status: Number(body.status),
    token: "token" in body && typeof body.token === "string" ? body.token : null,
    messages: "messages" in body && Array.isArray(body.messages) ? body.messages.map(String) : [],
  };
}
