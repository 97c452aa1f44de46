import { connect, type Socket } from "node:net";
import { Inbox, short } from "./inbox.ts";

/** One event of a stream, as the standard's parser dispatches it. */
export interface SseEvent {
  /** `message` unless the block names another. */
  readonly event: string;
  /** The lines of data, joined by LF. */
  readonly data: string;
  /** The last event id so far; empty before the first one. */
  readonly id: string;
  /** Whether this block set the id. */
  readonly numbered: boolean;
}

/** A connection that reads an event stream from a plain socket. */
export interface SseReader {
  readonly socket: Socket;
  /** Head of the response in lower case. */
  readonly head: Promise<string>;
  readonly status: Promise<number>;
  readonly events: Inbox<SseEvent>;
  /** The text of the body so far, chunks removed. */
  text(): string;
  /** Comments so far. */
  comments(): number;
  /** The last `retry:` in ms; 0 before the first one. */
  retry(): number;
  lastId(): string;
  /** Resolves when the response is complete, or the connection closed. */
  readonly ended: Promise<"complete" | "broken">;
  /** The next message of a channel: its parsed data. */
  message(): Promise<Record<string, unknown>>;
  cut(): void;
}

export interface SseOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** The address to connect from. */
  readonly from?: string;
}

/** Parses an event stream by the rules of the HTML standard, line by line. */
export class SseParser {
  readonly #put: (event: SseEvent) => void;
  #rest = "";
  #data: string[] = [];
  #event = "";
  #numbered = false;
  comments = 0;
  retry = 0;
  id = "";

  constructor(put: (event: SseEvent) => void) {
    this.#put = put;
  }

  add(text: string): void {
    this.#rest += text;
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) {
      this.comments++;
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "retry") this.retry = Number(value);
    else if (field === "id") {
      this.id = value;
      this.#numbered = true;
    } else throw new Error(`unknown field ${JSON.stringify(line)}`);
  }

  #dispatch(): void {
    const { length } = this.#data;
    const event = { event: this.#event || "message", data: this.#data.join("\n") };
    const numbered = this.#numbered;
    this.#data = [];
    this.#event = "";
    this.#numbered = false;
    if (length > 0) this.#put({ ...event, id: this.id, numbered });
  }
}

/** Opens a stream. @param path with the query, such as `/sse?channel=a` */
export function openSse(port: number, path: string, { headers = {}, from }: SseOptions = {}): SseReader {
  const socket = connect({ port, host: "127.0.0.1", ...(from === undefined ? {} : { localAddress: from }) });
  const events = new Inbox<SseEvent>(`stream ${path}`, (each) => short(JSON.stringify(each)));
  const parser = new SseParser((event) => events.put(event));
  const head = Promise.withResolvers<string>();
  const ended = Promise.withResolvers<"complete" | "broken">();
  const decoder = new TextDecoder();
  let raw = Buffer.alloc(0);
  let body = "";
  let isHead = true;
  let chunked = false;
  const take = (bytes: Uint8Array) => {
    const text = decoder.decode(bytes, { stream: true });
    body += text;
    parser.add(text);
  };
  const read = () => {
    if (isHead) {
      const end = raw.indexOf("\r\n\r\n");
      if (end < 0) return;
      const text = raw.subarray(0, end).toString("latin1").toLowerCase();
      raw = raw.subarray(end + 4);
      isHead = false;
      chunked = text.includes("transfer-encoding: chunked");
      head.resolve(text);
    }
    if (!chunked) {
      take(raw);
      raw = Buffer.alloc(0);
      return;
    }
    for (;;) {
      const end = raw.indexOf("\r\n");
      if (end < 0) return;
      const size = Number.parseInt(raw.subarray(0, end).toString("latin1"), 16);
      if (raw.length < end + 4 + size) return;
      if (size === 0) ended.resolve("complete");
      take(raw.subarray(end + 2, end + 2 + size));
      raw = raw.subarray(end + 4 + size);
    }
  };
  socket.on("data", (bytes: Buffer) => {
    raw = Buffer.concat([raw, bytes]);
    read();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    head.resolve("");
    ended.resolve("broken");
    events.end("the connection is closed");
  });
  const fields = Object.entries({ host: "localhost", ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`GET ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`);
  return {
    socket,
    head: head.promise,
    status: head.promise.then((text) => Number(/^http\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)),
    events,
    text: () => body,
    comments: () => parser.comments,
    retry: () => parser.retry,
    lastId: () => parser.id,
    ended: ended.promise,
    async message() {
      const { data } = await events.until((each) => each.event === "message", "a message");
      return JSON.parse(data);
    },
    cut: () => void socket.destroy(),
  };
}

/** Opens a stream and waits for its `ready`. */
export async function listenSse(port: number, path: string, options: SseOptions = {}): Promise<SseReader> {
  const reader = openSse(port, path, options);
  const status = await reader.status;
  if (status !== 200) throw new Error(`${path}: status ${status}`);
  await reader.events.until((each) => each.event === "ready", "ready");
  return reader;
}
