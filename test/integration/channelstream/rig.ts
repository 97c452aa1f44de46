import { join } from "node:path";
import { sign } from "../../../src/auth/signature.ts";
import { Inbox, short } from "../inbox.ts";
import { findPython } from "../python.ts";
import { type BusName, startWorld, type World } from "../world.ts";

export const SECRET = "channelstream-secret-of-these-tests";

/** A message, or whatever else an answer holds. */
export interface Json {
  readonly [key: string]: unknown;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON; the text where it is none. */
  readonly body: unknown;
}

export interface CallOptions {
  /** `null`: unsigned; a text: in place of a good signature. */
  readonly signature?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** The body as it is. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
}

/** Calls a server of this protocol, ours or the other. */
export async function call(
  base: string,
  method: string,
  path: string,
  body?: unknown,
  { signature, headers = {}, raw }: CallOptions = {},
): Promise<Answer> {
  const signed = signature === undefined ? sign("/any", SECRET, Date.now()) : signature;
  const payload = raw ?? (body === undefined ? null : JSON.stringify(body));
  const response = await fetch(base + path, {
    method,
    headers: { ...(signed === null ? {} : { "x-channelstream-secret": signed }), ...headers },
    ...(payload === null ? {} : { body: payload }),
  });
  const text = await response.text();
  let parsed: unknown = text;
  try {
    parsed = JSON.parse(text);
  } catch {
    // no JSON: the text says what it is
  }
  return { status: response.status, headers: response.headers, body: parsed };
}

/** Narrows what came over the wire, or fails the test. */
export function object(value: unknown): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`no object: ${value}`);
  return { ...value };
}

export function list(value: unknown): Json[] {
  if (!Array.isArray(value)) throw new Error(`no list: ${JSON.stringify(value)}`);
  return value.map(object);
}

export type Transport = "websocket" | "poll";
export const TRANSPORTS: readonly Transport[] = ["websocket", "poll"];

/** A connection as its client has it: messages in the order in which they came. */
export interface Ear {
  readonly id: string;
  readonly inbox: Inbox<Json>;
  /** Resolves with the close code of a socket. */
  readonly closed: Promise<number>;
  close(code?: number): Promise<void>;
}

export interface Rig {
  readonly world: World;
  readonly url: string;
  /** A signed call that must be answered with 200. */
  ok(method: string, path: string, body?: unknown): Promise<Json>;
  /** A signed call; its whole answer. */
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>;
  /** Calls `/connect`; returns the conn_id. */
  connect(username: string, channels: readonly string[], more?: Json): Promise<string>;
  /** Listens by a connection. Messages only: heartbeats are left out. */
  listen(id: string, transport?: Transport): Promise<Ear>;
  /** Sends messages; returns them as they were accepted. */
  send(...messages: readonly Json[]): Promise<Json[]>;
  /** What `/info` says of one channel. */
  info(channel: string): Promise<Json>;
  stop(): Promise<void>;
}

/** The executable with this protocol turned on. `settings` are lines of `[channelstream]`. */
export async function startRig(settings = "", bus: BusName = "embedded", toml = ""): Promise<Rig> {
  const world = await startWorld(bus, {
    toml: `${toml}\n[channelstream]\nsecret = "${SECRET}"\n${settings}`,
    args: ["--log-level", "debug"],
  });
  const { url } = world.channel;
  const ears: Ear[] = [];

  const rig: Rig = {
    world,
    url,
    call: (method, path, body, options) => call(url, method, path, body, options),
    async ok(method, path, body) {
      const answer = await call(url, method, path, body);
      if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
      return object(Array.isArray(answer.body) ? { list: answer.body } : answer.body);
    },
    async connect(username, channels, more = {}) {
      const { conn_id } = await rig.ok("POST", "/connect", { username, channels, ...more });
      return String(conn_id);
    },
    async listen(id, transport = "websocket") {
      const ear = transport === "websocket" ? await openSocket(url, id) : startPolling(url, id);
      ears.push(ear);
      return ear;
    },
    async send(...messages) {
      const { list: sent } = await rig.ok("POST", "/message", messages);
      return list(sent);
    },
    async info(channel) {
      const { channels } = await rig.ok("POST", "/info", { info: { channels: [channel] } });
      return object(object(channels)[channel]);
    },
    async stop() {
      await Promise.all(ears.map((ear) => ear.close()));
      await world.stop();
    },
  };
  return rig;
}

function inboxOf(id: string): Inbox<Json> {
  return new Inbox<Json>(`connection ${id}`, (message) => short(JSON.stringify(message)));
}

export function openSocket(url: string, id: string): Promise<Ear> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws?conn_id=${id}`);
  const inbox = inboxOf(id);
  const closed = new Promise<number>((resolve) => {
    socket.onclose = ({ code }) => {
      inbox.end(`closed with ${code}`);
      resolve(code);
    };
  });
  socket.onmessage = ({ data }) => {
    for (const message of list(JSON.parse(String(data)))) inbox.put(message);
  };
  const ear: Ear = {
    id,
    inbox,
    closed,
    async close(code = 1000) {
      socket.close(code);
      await closed;
    },
  };
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(ear);
    socket.onerror = () => reject(new Error(`no socket for ${id}`));
  });
}

export function startPolling(url: string, id: string): Ear {
  const inbox = inboxOf(id);
  const stop = new AbortController();
  const polling = (async () => {
    while (!stop.signal.aborted) {
      try {
        const response = await fetch(`${url}/listen?conn_id=${id}`, { signal: stop.signal });
        if (response.status !== 200) break;
        for (const message of list(await response.json())) inbox.put(message);
      } catch {
        break;
      }
    }
    inbox.end("polls no more");
    return 0;
  })();
  return {
    id,
    inbox,
    closed: polling,
    async close() {
      stop.abort();
      await polling;
    },
  };
}

export interface Reference {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Channelstream 0.7.1 itself. */
export async function startReference(settings: Json = {}): Promise<Reference> {
  const python = findPython("channelstream, ws4py");
  const child = Bun.spawn(
    [
      python,
      "-W",
      "ignore",
      join(import.meta.dir, "reference.py"),
      JSON.stringify({ secret: SECRET, ...settings }),
    ],
    { stdout: "pipe", stderr: "ignore", env: { PATH: process.env.PATH ?? "", PYTHONDONTWRITEBYTECODE: "1" } },
  );
  process.on("exit", () => child.kill("SIGKILL"));
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const port = Number(new TextDecoder().decode(value));
  if (!(port > 0)) throw new Error("Channelstream did not start");
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
