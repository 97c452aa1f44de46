import { createHmac } from "node:crypto";
import { Inbox, PATIENCE, short } from "./inbox.ts";
import { openLongPoll } from "./longpoll.ts";
import { BINARY, frame, openWebSocket, type RawMessage, type RawSocket, TEXT } from "./websocket.ts";

export type Version = "1.0.0" | "2.0.0";

/** Both forms of Phoenix' frames. */
export const VERSIONS: readonly Version[] = ["2.0.0", "1.0.0"];

export type Transport = "websocket" | "longpoll";

/** Every combination of protocol version and transport. All of them must behave alike. */
export const WAYS = VERSIONS.flatMap((vsn) =>
  (["websocket", "longpoll"] as const).map((transport) => ({
    vsn,
    transport,
    way: `${vsn} by ${transport}`,
  })),
);

export type Ref = string | number | null;

/** A message of a client. `payload` is JSON text, so that a test controls every byte. */
export interface Message {
  readonly joinRef?: Ref;
  readonly ref?: Ref;
  readonly topic: string;
  readonly event: string;
  /** `{}` when absent. */
  readonly payload?: string;
}

/** A frame that a client received. */
export interface Frame {
  /** `undefined` in V1, whose frames have none. */
  readonly joinRef: unknown;
  readonly ref: unknown;
  readonly topic: string;
  readonly event: string;
  /** Parsed JSON, or the bytes of a binary frame. */
  readonly payload: unknown;
  /** The frame's text; of a binary frame, hexadecimal. */
  readonly text: string;
  readonly kind: "text" | "binary push" | "binary reply" | "binary broadcast";
}

export interface Reply {
  readonly status: unknown;
  readonly response: unknown;
  readonly frame: Frame;
}

export interface ConnectOptions {
  /** Default: WebSocket. */
  readonly transport?: Transport;
  readonly path?: string;
  /** `null`: no `vsn` in the address; frames are sent and read as V2 unless `frameVersion` is V1. */
  readonly vsn?: Version | null;
  readonly frameVersion?: Version;
  /** Query parameters besides `vsn`. */
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly subprotocols?: readonly string[];
}

/** A Phoenix client that sends nothing on its own. */
export interface PhoenixClient {
  readonly version: Version;
  readonly socket: RawSocket;
  /** Every received frame, in order. */
  readonly frames: Inbox<Frame>;
  encode(message: Message): string;
  send(...messages: readonly Message[]): void;
  /** Sends `messages` in one write of the connection, with whatever raw frames follow. */
  sendTogether(messages: readonly Message[], ...raw: readonly Uint8Array[]): void;
  sendText(text: string | Uint8Array): void;
  sendBinary(data: Uint8Array): void;
  /** Sends with a fresh ref and waits for the reply to it. Skips frames that arrive before it. */
  ask(message: Omit<Message, "ref">): Promise<Reply>;
  /** Joins with a fresh ref, which is its join_ref too. */
  join(topic: string, payload?: Readonly<Record<string, unknown>>): Promise<Joined>;
  /** The reply with this ref. */
  reply(ref: Ref): Promise<Reply>;
  /** The next frame with this event. */
  event(event: string, topic?: string): Promise<Frame>;
  /**
   * Waits for a heartbeat's reply: earlier frames have then been handled, and their replies have arrived.
   * Returns the frames received since the last read, without that reply.
   */
  fence(): Promise<Frame[]>;
}

export interface Joined extends Reply {
  readonly joinRef: string;
}

/** Connects; fails when the upgrade is refused. */
export async function connectPhoenix(url: string, options: ConnectOptions = {}): Promise<PhoenixClient> {
  const { vsn = "2.0.0", subprotocols = [] } = options;
  const version = options.frameVersion ?? vsn ?? "2.0.0";
  const frames = new Inbox<Frame>(`client ${version}`, (each) => short(each.text));
  const open = options.transport === "longpoll" ? openLongPoll : openWebSocket;
  const answer = await open(
    addressOf(url, options),
    {
      ...(subprotocols.length > 0 ? { "sec-websocket-protocol": subprotocols.join(", ") } : {}),
      ...options.headers,
    },
    (message) => {
      try {
        frames.put(parseFrame(message, version));
      } catch (error) {
        frames.end(String(error));
      }
    },
  );
  if (answer.status !== 101 || !("messages" in answer)) {
    throw new Error(`the upgrade was refused with ${answer.status}: ${"body" in answer ? answer.body : ""}`);
  }
  void answer.closed.then(({ code }) => frames.end(`closed with ${code}`));
  return clientOf(answer, version, frames);
}

/** The URL that `connectPhoenix` connects to. */
export function addressOf(url: string, options: ConnectOptions = {}): string {
  const { path = "/websocket", vsn = "2.0.0", params = {} } = options;
  const query = new URLSearchParams(params);
  if (vsn !== null) query.set("vsn", vsn);
  if (options.transport === "longpoll") return `${url}${path.replace(/websocket$/, "longpoll")}?${query}`;
  return query.size === 0 ? url + path : `${url}${path}?${query}`;
}

function clientOf(socket: RawSocket, version: Version, frames: Inbox<Frame>): PhoenixClient {
  let lastRef = 0;
  const freshRef = (): string => String(++lastRef);
  const encode = (message: Message): string => encodeText(message, version);
  const client: PhoenixClient = {
    version,
    socket,
    frames,
    encode,
    send: (...messages) => {
      for (const message of messages) socket.sendText(encode(message));
    },
    sendTogether: (messages, ...raw) =>
      socket.write(...messages.map((message) => frame(TEXT, encode(message))), ...raw),
    sendText: (text) => socket.sendText(text),
    sendBinary: (data) => socket.write(frame(BINARY, data)),
    ask: (message) => {
      const ref = freshRef();
      client.send({ ...message, ref });
      return client.reply(ref);
    },
    join: async (topic, payload = {}) => {
      const joinRef = freshRef();
      client.send({ joinRef, ref: joinRef, topic, event: "phx_join", payload: JSON.stringify(payload) });
      return { ...(await client.reply(joinRef)), joinRef };
    },
    reply: async (ref) =>
      replyOf(await frames.until((each) => each.event === "phx_reply" && each.ref === ref, `reply ${ref}`)),
    event: (event, topic) =>
      frames.until(
        (each) => each.event === event && (topic === undefined || each.topic === topic),
        `event ${event}`,
      ),
    fence: async () => {
      const from = frames.all.length - frames.take().length;
      const ref = `fence-${freshRef()}`;
      client.send({ joinRef: null, ref, topic: "phoenix", event: "heartbeat" });
      await client.reply(ref);
      return frames.all.slice(from).filter((each) => each.ref !== ref);
    },
  };
  return client;
}

/** A frame as a client writes it. In V1 `joinRef` is written only where it is given and differs from what V1 assumes. */
export function encodeText(message: Message, version: Version): string {
  const { topic, event, payload = "{}" } = message;
  const ref = JSON.stringify(message.ref ?? null);
  const joinRef = message.joinRef ?? null;
  if (version === "2.0.0") {
    return `[${JSON.stringify(joinRef)},${ref},${JSON.stringify(topic)},${JSON.stringify(event)},${payload}]`;
  }
  const extra = joinRef === null || joinRef === message.ref ? "" : `,"join_ref":${JSON.stringify(joinRef)}`;
  return `{"topic":${JSON.stringify(topic)},"event":${JSON.stringify(event)},"payload":${payload},"ref":${ref}${extra}}`;
}

/** A binary push of V2. */
export function encodeBinary(message: Omit<Message, "payload"> & { readonly data: Uint8Array }): Buffer {
  const strings = [message.joinRef ?? "", message.ref ?? "", message.topic, message.event].map((each) =>
    Buffer.from(String(each)),
  );
  return Buffer.concat([Buffer.from([0, ...strings.map((each) => each.length)]), ...strings, message.data]);
}

/** Reads a frame strictly: anything that Phoenix would not send fails the test. */
export function parseFrame({ binary, data }: RawMessage, version: Version): Frame {
  if (binary) return parseBinary(data);
  const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  const value: unknown = JSON.parse(text);
  if (version === "2.0.0") {
    if (!Array.isArray(value) || value.length !== 5) throw new Error(`no V2 frame: ${short(text)}`);
    const [joinRef, ref, topic, event, payload]: unknown[] = value;
    return { ...named(topic, event, text), joinRef, ref, payload, kind: "text" };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`no V1 frame: ${short(text)}`);
  }
  const keys = Object.keys(value).sort().join();
  if (keys !== "event,payload,ref,topic") throw new Error(`a V1 frame with keys ${keys}: ${short(text)}`);
  const {
    topic,
    event,
    payload,
    ref,
  }: { topic?: unknown; event?: unknown; payload?: unknown; ref?: unknown } = value;
  return { ...named(topic, event, text), joinRef: undefined, ref, payload, kind: "text" };
}

function named(topic: unknown, event: unknown, text: string): { topic: string; event: string; text: string } {
  if (typeof topic !== "string" || typeof event !== "string") {
    throw new Error(`a frame without topic or event: ${short(text)}`);
  }
  return { topic, event, text };
}

const BINARY_KINDS = [
  { kind: "binary push", fields: ["joinRef", "topic", "event"] },
  { kind: "binary reply", fields: ["joinRef", "ref", "topic", "event"] },
  { kind: "binary broadcast", fields: ["topic", "event"] },
] as const;

function parseBinary(data: Buffer): Frame {
  const form = BINARY_KINDS[data[0] ?? 255];
  if (form === undefined) throw new Error(`a binary frame of kind ${data[0]}`);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const read = new Map<string, string>();
  let offset = 1 + form.fields.length;
  form.fields.forEach((field, i) => {
    const length = data[1 + i] ?? 0;
    read.set(field, decoder.decode(data.subarray(offset, offset + length)));
    offset += length;
  });
  if (offset > data.length) throw new Error("a binary frame that is shorter than it says");
  return {
    joinRef: read.get("joinRef") ?? null,
    ref: read.get("ref") ?? null,
    topic: read.get("topic") ?? "",
    event: read.get("event") ?? "",
    payload: data.subarray(offset),
    text: data.toString("hex"),
    kind: form.kind,
  };
}

/** The payload of a `phx_reply`. */
export function replyOf(from: Frame): Reply {
  const { payload } = from;
  if (typeof payload !== "object" || payload === null || !("status" in payload) || !("response" in payload)) {
    throw new Error(`a reply without status and response: ${short(from.text)}`);
  }
  return { status: payload.status, response: payload.response, frame: from };
}

/** Claims of a token; `exp` in seconds is an hour ahead unless given. */
export type TokenClaims = Readonly<Record<string, unknown>>;

/** Signs a token with HS256, independent of the code under test. */
export function mint(claims: TokenClaims, secret: string, header: TokenClaims = {}): string {
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT", ...header })}.${part({ exp, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Polls until the result is not null, undefined or false. For states that cannot be awaited. */
export async function eventually<T>(
  ask: () => Promise<T | Nothing> | T | Nothing,
  what: string,
  timeout = PATIENCE,
): Promise<T> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const value = await ask();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeout} ms`);
    await Bun.sleep(10);
  }
}

type Nothing = null | undefined | false;
