import { Client } from "./client.ts";
import type { ConnectionContext } from "./connection-context.ts";
import type { LiveClient, RemoteEnd, SseLiveness } from "./sse-liveness.ts";

/** How long a closed client may read its backlog, in ms. */
const CLOSE_TIMEOUT = 1000;

/** Seconds that a connection may wait for its next request when a stream on it has ended. */
const KEEP_ALIVE_SECS = 10;

/** Bun's streams of type `direct`, which the types of the DOM do not have. */
const DirectStream = ReadableStream as unknown as new (
  source: Bun.DirectUnderlyingSource,
  strategy: QueuingStrategy,
) => ReadableStream;

/** Bytes that Bun collects within one turn of the event loop: a system call for several small frames. */
const STRATEGY = { highWaterMark: 2048 };

/** A comment: EventSource ignores it. */
const COMMENT = Buffer.from(":\n\n");

export interface SseOptions {
  readonly liveness: SseLiveness;
  /** The remote end of the connection itself, before any proxy; `null` if unknown. */
  readonly remote: RemoteEnd | null;
  /** Sets the idle timeout of the response in seconds; 0: none. */
  extend(secs: number): void;
  /** The last frame of a client that is closed for this reason. */
  lastFrame(reason: string): string;
  /** Called once, when the response has ended or was never begun. */
  onEnd(): void;
}

/** A client that reads one endless response. It sends nothing after its request, and cannot subscribe to Bun topics. */
export class SseClient extends Client implements LiveClient {
  readonly remote: RemoteEnd | null;
  unconfirmed = false;
  writtenAt = 0;
  readonly #options: SseOptions;
  #sink: ReadableStreamDirectController | null = null;
  #over = false;
  #ending = false;
  /** Whether Bun reported back-pressure and has not written all of the last frame yet. */
  #blocked = false;
  /** Size of the last frame passed to Bun while it is not written; bytes. */
  #held = 0;
  /** Frames that wait until Bun has written the last one, from index `#next`. */
  #queue: (string | Buffer)[] = [];
  #next = 0;
  #queued = 0;

  constructor(context: ConnectionContext, id: string, address: string, options: SseOptions) {
    super(context, id, address);
    this.#options = options;
    this.remote = options.remote;
    // The request is all that it ever sends.
    this.idleSince = null;
  }

  /** The response that this client reads; to be called once, when `session` is set. The session opens with it. */
  respond(headers: Readonly<Record<string, string>>): Response {
    this.#options.extend(0);
    // A direct stream passes frames to the socket, without queues and promises of its own, and reports back-pressure.
    const source: Bun.DirectUnderlyingSource = {
      type: "direct",
      pull: (sink) => this.#opened(sink),
      cancel: () => this.#ended(),
    };
    return new Response(new DirectStream(source, STRATEGY), { headers });
  }

  override subscribe(): boolean {
    return false;
  }

  override unsubscribe(): void {}

  override buffered(): number {
    return this.#held + this.#queued;
  }

  get blocked(): boolean {
    return this.#blocked;
  }

  /** Sends a comment. The client does not answer, but the acknowledgement of its bytes is a sign of life. */
  override ping(): void {
    if (this.#sink === null || this.#blocked) return;
    this.#write(COMMENT);
    this.#options.liveness.written(this);
  }

  /** The last frame follows the backlog. If it is not read in time, the connection is reset. */
  override end(_code: number, reason: string): void {
    if (this.#over || this.#ending) return;
    this.#ending = true;
    this.#put(this.#options.lastFrame(reason));
    if (this.#blocked) setTimeout(() => this.terminate(), CLOSE_TIMEOUT);
    else this.#finish();
  }

  protected override get connected(): boolean {
    return this.#sink !== null && !this.#over;
  }

  protected override transmit(frame: string | Buffer): number {
    const size = sizeOf(frame);
    if (this.#blocked && this.buffered() + size > this.context.maxBuffered) {
      this.cutOff("slow");
      return 0;
    }
    return this.#put(frame) ? size : -1;
  }

  protected override terminate(): void {
    if (this.#over) return;
    const sink = this.#sink;
    this.#ended();
    // With an error Bun resets the connection and drops what it holds.
    sink?.close(new Error("the client was cut off"));
  }

  #opened(sink: ReadableStreamDirectController): void {
    if (this.#over) return sink.close();
    this.#sink = sink;
    this.#options.liveness.add(this);
    this.register();
  }

  /** Sends a frame or queues it. Returns whether it was written completely. */
  #put(frame: string | Buffer): boolean {
    if (this.#blocked) {
      this.#queue.push(frame);
      this.#queued += sizeOf(frame);
      return false;
    }
    this.#write(frame);
    this.#options.liveness.written(this);
    return !this.#blocked;
  }

  #write(frame: string | Buffer): void {
    const written = this.#sink?.write(frame);
    if (!(written instanceof Promise)) return;
    this.#blocked = true;
    this.#held = sizeOf(frame);
    written.then(
      () => this.#resume(),
      () => this.terminate(),
    );
  }

  /** Bun has written the last frame: the next ones follow until it reports back-pressure again. */
  #resume(): void {
    if (this.#over) return;
    this.#blocked = false;
    this.#held = 0;
    this.lastSeen = performance.now();
    while (!this.#blocked) {
      const frame = this.#queue[this.#next];
      if (frame === undefined) break;
      this.#next++;
      this.#queued -= sizeOf(frame);
      this.#write(frame);
    }
    // Sent frames are freed in blocks: to shift each would move the rest.
    if (this.#next === this.#queue.length || this.#next >= 1024) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    this.#options.liveness.written(this);
    if (this.#blocked) return;
    if (this.#ending) this.#finish();
    else this.backlogSent();
  }

  /** Ends the response in order. Its connection stays for another request. */
  #finish(): void {
    const sink = this.#sink;
    this.#ended();
    this.#options.extend(KEEP_ALIVE_SECS);
    sink?.close();
  }

  /** The response is over, here or at the remote end. */
  #ended(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue = [];
    this.#queued = 0;
    this.#held = 0;
    if (this.#sink !== null) {
      this.#sink = null;
      this.#options.liveness.remove(this);
      this.unregister();
    }
    this.#options.onEnd();
  }
}

function sizeOf(frame: string | Buffer): number {
  return typeof frame === "string" ? Buffer.byteLength(frame) : frame.length;
}
