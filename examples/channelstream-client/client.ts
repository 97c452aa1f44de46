/** A message as the server sends it. Fields that a type does not have are left out. */
export interface Message {
  readonly uuid: string;
  readonly type: string;
  readonly channel: string | null;
  readonly user?: string | null;
  readonly message?: Readonly<Record<string, unknown>>;
  readonly timestamp?: string;
  readonly edited?: string | null;
  readonly catchup?: boolean;
  /** Of `presence`: who is there, where the channel is configured so. */
  readonly users?: readonly { readonly user: string; readonly state: Readonly<Record<string, unknown>> }[];
  /** Of `presence`: the public state of who joined. */
  readonly state?: Readonly<Record<string, unknown>> | null;
}

/** What the client is doing. `offline` waits to try again. */
export type Status = "connecting" | "websocket" | "polling" | "offline" | "stopped";

export interface ClientOptions {
  /** Address of the server: `http://127.0.0.1:2025`. */
  readonly server: string;
  /** Asks the web application for a conn_id, which it gets by its signed `/connect`. Rejects where it cannot. */
  readonly connect: () => Promise<string>;
  readonly message: (message: Message) => void;
  readonly status?: (status: Status) => void;
}

/** The server sends something every 5 s at least; a socket that is silent for so long is lost, in ms. */
const SILENCE = 12_000;

/** A socket that does not open in this time never will, in ms. */
const OPENING = 5_000;

/** Sockets that failed to open, one after the other, before polling takes over. */
const MAX_FAILURES = 2;

/** How long polls serve before a socket is tried again, in ms. */
const POLLING = 60_000;

/** Pauses before trying again, in ms, each with up to as much again. */
const PAUSES = [250, 1_000, 2_000, 5_000];

/** Messages that are remembered, so that what is caught up with is told once. */
const REMEMBERED = 500;

/** How a way to listen ended. */
type End = "unknown" | "failed" | "lost" | "tired";

/**
 * Listens to a Channelstream server: over a WebSocket, or by long polling where none opens. Comes back by itself, with the
 * same connection as long as the server knows it.
 */
export class ChannelstreamClient {
  readonly #options: ClientOptions;
  readonly #told = new Set<string>();
  readonly #stop = new AbortController();
  #connId: string | null = null;
  #failures = 0;
  #tries = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    void this.#run();
  }

  /** The present connection; `null` while there is none. */
  get connId(): string | null {
    return this.#connId;
  }

  /** Leaves for good; the server is told. */
  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    if (this.#connId !== null) {
      navigator.sendBeacon(`${this.#options.server}/disconnect`, JSON.stringify({ conn_id: this.#connId }));
    }
    this.#say("stopped");
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#say("connecting");
      const end = await this.#listen();
      if (signal.aborted) return;
      if (end === "unknown") this.#connId = null;
      if (end === "tired") continue;
      this.#say("offline");
      await pause(PAUSES[Math.min(this.#tries, PAUSES.length - 1)] ?? 0, signal);
      this.#tries++;
    }
  }

  async #listen(): Promise<End> {
    try {
      this.#connId ??= await this.#options.connect();
    } catch {
      return "failed";
    }
    if (this.#failures >= MAX_FAILURES) {
      const end = await this.#poll(this.#connId);
      if (end === "tired") this.#failures = 0;
      return end;
    }
    const end = await this.#openSocket(this.#connId);
    this.#failures = end === "failed" ? this.#failures + 1 : 0;
    return end;
  }

  #openSocket(connId: string): Promise<End> {
    return new Promise((resolve) => {
      let opened = false;
      const socket = new WebSocket(`${this.#options.server.replace(/^http/, "ws")}/ws?conn_id=${connId}`);
      const give = () => socket.close();
      let watch = setTimeout(give, OPENING);
      this.#stop.signal.addEventListener("abort", give, { once: true });
      const heard = () => {
        clearTimeout(watch);
        watch = setTimeout(give, SILENCE);
      };
      socket.onopen = () => {
        opened = true;
        heard();
        this.#say("websocket");
      };
      socket.onmessage = ({ data }) => {
        heard();
        this.#tries = 0;
        this.#take(String(data));
      };
      socket.onclose = ({ code, reason }) => {
        clearTimeout(watch);
        this.#stop.signal.removeEventListener("abort", give);
        const unknown = code === 1008 || reason === "disconnected";
        resolve(unknown ? "unknown" : opened ? "lost" : "failed");
      };
    });
  }

  async #poll(connId: string): Promise<End> {
    const { signal } = this.#stop;
    const until = performance.now() + POLLING;
    this.#say("polling");
    while (performance.now() < until) {
      try {
        const response = await fetch(`${this.#options.server}/listen?conn_id=${connId}`, { signal });
        if (response.status === 401) return "unknown";
        if (!response.ok) return "lost";
        this.#tries = 0;
        this.#take(await response.text());
      } catch {
        return "lost";
      }
    }
    return "tired";
  }

  #take(text: string): void {
    const list: unknown = JSON.parse(text);
    if (!Array.isArray(list)) return;
    for (const one of list) {
      if (!isMessage(one)) continue;
      // What was sent just before a connection was lost may come again when it is caught up with.
      const key = `${one.type} ${one.uuid} ${one.edited ?? ""}`;
      if (one.catchup === true && this.#told.has(key)) continue;
      this.#told.add(key);
      for (const old of this.#told) {
        if (this.#told.size <= REMEMBERED) break;
        this.#told.delete(old);
      }
      this.#options.message(one);
    }
  }

  #say(status: Status): void {
    this.#options.status?.(status);
  }
}

export function isMessage(value: unknown): value is Message {
  return (
    typeof value === "object" &&
    value !== null &&
    "uuid" in value &&
    typeof value.uuid === "string" &&
    "type" in value &&
    typeof value.type === "string"
  );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms * (1 + Math.random()));
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
