import type { Client } from "../../../src/transports/client.ts";
import type { ConnectionContext } from "../../../src/transports/connection-context.ts";
import { LongPollClient, type LongPollOptions } from "../../../src/transports/longpoll.ts";
import { type AnswerFormat, deliver } from "../../../src/transports/longpoll-response.ts";
import type { Session } from "../../../src/transports/session.ts";
import { SseClient } from "../../../src/transports/sse.ts";
import { SseLiveness } from "../../../src/transports/sse-liveness.ts";
import { WebSocketClient, webSocketHandler } from "../../../src/transports/websocket.ts";

const HOST = "127.0.0.1";

/** A client of the server and the remote end of its connection, on a real socket. */
export interface Link {
  readonly client: Client;
  /** Frames that the remote end received, in order. */
  readonly received: readonly string[];
  /** Whether the remote end knows that the session is over. */
  readonly ended: boolean;
  /** Resolves when a frame that is sent now reaches the remote end. */
  ready(): Promise<void>;
  /** Sends a frame from the remote end. */
  send(frame: string): void;
  /** Whether a frame from the remote end waits for a verification. */
  isWaiting(): boolean;
  /** Publishes to a Bun topic. */
  publish(topic: string, frame: string): void;
  stop(): Promise<void>;
}

/** One implementation of `Transport`, for the contract test. */
export interface TransportKind {
  readonly name: string;
  /** Whether clients subscribe to Bun topics. */
  readonly topics: boolean;
  /** Whether frames sent before `close` reach the remote end. */
  readonly flushesOnClose: boolean;
  /** Whether the remote end sends frames. */
  readonly receives: boolean;
  /** @param reads whether the remote end reads at all */
  connect(context: ConnectionContext, session: Session, reads?: boolean): Promise<Link>;
}

export const TRANSPORTS: readonly TransportKind[] = [
  { name: "WebSocket", topics: true, flushesOnClose: true, receives: true, connect: connectWebSocket },
  {
    name: "long polling that keeps messages (Phoenix)",
    topics: false,
    flushesOnClose: true,
    receives: true,
    connect: (context, session, reads) =>
      connectLongPoll(context, session, { wait: 10_000, collect: 0, keep: true }, reads),
  },
  {
    name: "long polling that keeps none (Channelstream)",
    topics: false,
    flushesOnClose: false,
    receives: true,
    connect: (context, session, reads) =>
      connectLongPoll(context, session, { wait: 10_000, collect: 20, keep: false }, reads),
  },
  { name: "server-sent events", topics: false, flushesOnClose: true, receives: false, connect: connectSse },
];

/** Resolves when a condition holds; the test runner's timeout is its limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

async function connectWebSocket(context: ConnectionContext, session: Session, reads = true): Promise<Link> {
  const client = new WebSocketClient(context, "c1", HOST);
  client.session = session;
  const server = Bun.serve({
    hostname: HOST,
    port: 0,
    fetch: (request, bun) =>
      bun.upgrade(request, { data: client }) ? undefined : new Response(null, { status: 400 }),
    websocket: webSocketHandler(context, () => {}),
  });
  const received: string[] = [];
  const link = {
    client,
    received,
    ended: false,
    ready: async () => {},
    isWaiting: () => context.inbound.bytes > 0,
    publish: (topic: string, frame: string) => void server.publish(topic, frame),
  };
  if (!reads) {
    const socket = await openWithoutReading(server.port ?? 0);
    await until(() => client.open);
    const stop = async () => {
      socket.end();
      await server.stop(true);
    };
    return { ...link, send() {}, stop };
  }
  const socket = new WebSocket(`ws://${HOST}:${server.port}/`);
  socket.onmessage = ({ data }) => received.push(String(data));
  const remote = Object.assign(link, {
    send: (frame: string) => socket.send(frame),
    stop: async () => {
      socket.close();
      await server.stop(true);
    },
  });
  socket.onclose = () => {
    remote.ended = true;
  };
  await until(() => client.open && socket.readyState === WebSocket.OPEN);
  return remote;
}

/** A WebSocket whose remote end reads nothing after its request. */
async function openWithoutReading(port: number): Promise<{ end(): void }> {
  const socket = await Bun.connect({ hostname: HOST, port, socket: { data() {} } });
  socket.pause();
  const key = Buffer.alloc(16).toString("base64");
  const head = [`Host: ${HOST}`, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
  socket.write(["GET / HTTP/1.1", ...head, `Sec-WebSocket-Key: ${key}`, "", ""].join("\r\n"));
  return socket;
}

/** A JSON list of frames. */
const LIST: AnswerFormat = {
  open: "[",
  close: "]",
  contentType: "application/json",
  join: (frames) => JSON.stringify(frames).slice(1, -1),
};

async function connectLongPoll(
  context: ConnectionContext,
  session: Session,
  options: LongPollOptions,
  reads = true,
): Promise<Link> {
  const client = new LongPollClient(context, "c1", HOST, options);
  client.session = session;
  client.start();
  let handling = 0;
  const server = Bun.serve({
    hostname: HOST,
    port: 0,
    async fetch(request) {
      if (request.method === "POST") {
        const frame = await request.text();
        handling++;
        await client.post([frame]);
        handling--;
        return new Response();
      }
      const acknowledged = options.keep ? Number(new URL(request.url).searchParams.get("number")) : null;
      const result = await client.poll(request.signal, acknowledged);
      if (typeof result === "string") return new Response(null, { status: result === "closed" ? 410 : 204 });
      return deliver(result, LIST, request.signal, { "x-number": String(result.number) });
    },
  });
  const url = `http://${HOST}:${server.port}/`;
  const received: string[] = [];
  const stopped = new AbortController();
  let posts: Promise<unknown> = Promise.resolve();
  const link = {
    client,
    received,
    ended: false,
    ready: () => until(() => client.unpolledSince === null),
    isWaiting: () => handling > 0,
    send(frame: string) {
      posts = posts.then(() => fetch(url, { method: "POST", body: frame }));
    },
    publish: (topic: string, frame: string) => void server.publish(topic, frame),
    async stop() {
      stopped.abort();
      await posts;
      await server.stop(true);
    },
  };
  const poll = async () => {
    for (let number = "0"; ; ) {
      const response = await fetch(`${url}?number=${number}`, { signal: stopped.signal });
      const text = await response.text();
      number = response.headers.get("x-number") ?? number;
      if (text !== "") received.push(...JSON.parse(text));
      if (response.status === 410) break;
    }
    link.ended = true;
  };
  // Polling ends with an aborted request when the link is stopped.
  if (reads) poll().catch(() => {});
  else void client.poll(stopped.signal, null);
  return link;
}

/** Frames are lines of one response. */
async function connectSse(context: ConnectionContext, session: Session, reads = true): Promise<Link> {
  const liveness = new SseLiveness(async () => null);
  const ticker = setInterval(() => liveness.tick(), 10);
  let client: SseClient | null = null;
  const server = Bun.serve({
    hostname: HOST,
    port: 0,
    development: false,
    fetch(request, bun) {
      client = new SseClient(context, "c1", HOST, {
        liveness,
        remote: bun.requestIP(request),
        extend: (secs) => bun.timeout(request, secs),
        lastFrame: () => ":bye\n",
        onEnd() {},
      });
      // Each frame is a line.
      const { send } = client;
      client.send = (frame) => send.call(client, `${frame}\n`);
      client.session = session;
      return client.respond({ "content-type": "text/event-stream" });
    },
  });
  const opened = async () => {
    await until(() => client?.open ?? false);
    if (client === null) throw new Error("no client");
    return client;
  };
  const received: string[] = [];
  const link = {
    received,
    ended: false,
    ready: async () => {},
    isWaiting: () => false,
    publish: (topic: string, frame: string) => void server.publish(topic, frame),
    send() {},
  };
  const socket = await Bun.connect({
    hostname: HOST,
    port: server.port ?? 0,
    socket: { data: (_, bytes) => void reader.write(bytes), close: () => void reader.end() },
  });
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const pipe = writable.getWriter();
  const reader = {
    write: (bytes: Uint8Array) => pipe.write(bytes).catch(() => {}),
    end: () => pipe.close().catch(() => {}),
  };
  if (!reads) socket.pause();
  socket.write(`GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`);
  const remote = Object.assign(link, {
    client: await opened(),
    stop: async () => {
      clearInterval(ticker);
      socket.terminate();
      await server.stop(true);
    },
  });
  readLines(readable, (line) => received.push(line)).then(() => {
    remote.ended = true;
  });
  return remote;
}

/** Calls `each` with every line behind the head of a response that is not a comment. */
async function readLines(stream: ReadableStream<Uint8Array>, each: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  let inHead = true;
  for await (const part of stream) {
    rest += decoder.decode(part, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (inHead) inHead = line !== "\r";
      else if (line !== "" && !line.startsWith(":")) each(line);
    }
  }
}
