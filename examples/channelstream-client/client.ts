/** A message as the server sends it. Fields depend on the type. */
export interface Message {
  readonly uuid: string;
  readonly type: string;
  readonly channel: string | null;
  readonly user?: string | null;
  readonly message?: Readonly<Record<string, unknown>>;
  readonly timestamp?: string;
  readonly edited?: string | null;
  readonly catchup?: boolean;
  /** Type `presence`: all users, if the channel is configured to send them. */
  readonly users?: readonly { readonly user: string; readonly state: Readonly<Record<string, unknown>> }[];
  /** Type `presence`: the public state of the user that joined. */
  readonly state?: Readonly<Record<string, unknown>> | null;
}

/** State of the client. `offline`: waiting to reconnect. */
export type Status = "connecting" | "websocket" | "polling" | "offline" | "stopped";

export interface ClientOptions {
  /** URL of the server: `http://127.0.0.1:2025`. */
  readonly server: string;
  /** Requests a conn_id from the web application, which gets it from a signed call to `/connect`. May reject. */
  readonly connect: () => Promise<string>;
  readonly message: (message: Message) => void;
  readonly status?: (status: Status) => void;
}

/** A socket without messages for this time is closed, in ms. The server sends a heartbeat every 5 s. */
const RECEIVE_TIMEOUT = 12_000;

/** Time for a socket to open, in ms. */
const OPEN_TIMEOUT = 5_000;

/** Consecutive sockets that failed to open before the client switches to polling. */
const MAX_FAILURES = 2;

/** Time before a polling client tries a socket again, in ms. */
const POLLING_TIME = 60_000;

/** Reconnect delays in ms; a random part of up to 100 % is added. */
const RECONNECT_DELAYS = [250, 1_000, 2_000, 5_000];

/** Message ids kept, to drop duplicates after a reconnect. */
const MAX_SEEN = 500;

/** Why a transport ended. `unknown`: the server does not know the conn_id; `retry`: time to try a socket again. */
type End = "unknown" | "failed" | "lost" | "retry";

/**
 * Receives messages from a Channelstream server over a WebSocket, or by long polling if no socket opens. Reconnects
 * automatically, with the same conn_id as long as the server knows it.
 */
export class ChannelstreamClient {
  readonly #options: ClientOptions;
  readonly #seen = new Set<string>();
  readonly #stop = new AbortController();
  #connId: string | null = null;
  #failures = 0;
  #tries = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    void this.#run();
  }

  /** The current connection; `null` if there is nmessage. */
  get connId(): string | null {
    return this.#connId;
  }

  /** Disconnects, and notifies the server. */
  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    if (this.#connId !== null) {
      navigator.sendBeacon(`${this.#options.server}/disconnect`, JSON.stringify({ conn_id: this.#connId }));
    }
    this.#setStatus("stopped");
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#setStatus("connecting");
      const end = await this.#listen();
      if (signal.aborted) return;
      if (end === "unknown") this.#connId = null;
      if (end === "retry") continue;
      this.#setStatus("offline");
      await delay(RECONNECT_DELAYS[Math.min(this.#tries, RECONNECT_DELAYS.length - 1)] ?? 0, signal);
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
      if (end === "retry") this.#failures = 0;
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
      const close = () => socket.close();
      let timeout = setTimeout(close, OPEN_TIMEOUT);
      this.#stop.signal.addEventListener("abort", close, { once: true });
      const resetTimeout = () => {
        clearTimeout(timeout);
        timeout = setTimeout(close, RECEIVE_TIMEOUT);
      };
      socket.onopen = () => {
        opened = true;
        resetTimeout();
        this.#setStatus("websocket");
      };
      socket.onmessage = ({ data }) => {
        resetTimeout();
        this.#tries = 0;
        this.#receive(String(data));
      };
      socket.onclose = ({ code, reason }) => {
        clearTimeout(timeout);
        this.#stop.signal.removeEventListener("abort", close);
        const unknown = code === 1008 || reason === "disconnected";
        resolve(unknown ? "unknown" : opened ? "lost" : "failed");
      };
    });
  }

  async #poll(connId: string): Promise<End> {
    const { signal } = this.#stop;
    const until = performance.now() + POLLING_TIME;
    this.#setStatus("polling");
    while (performance.now() < until) {
      try {
        const response = await fetch(`${this.#options.server}/listen?conn_id=${connId}`, { signal });
        if (response.status === 401) return "unknown";
        if (!response.ok) return "lost";
        this.#tries = 0;
        this.#receive(await response.text());
      } catch {
        return "lost";
      }
    }
    return "retry";
  }

  #receive(text: string): void {
    const list: unknown = JSON.parse(text);
    if (!Array.isArray(list)) return;
    for (const message of list) {
      if (!isMessage(message)) continue;
      // Messages sent just before a connection was lost may be sent again after the reconnect.
      const key = `${message.type} ${message.uuid} ${message.edited ?? ""}`;
      if (message.catchup === true && this.#seen.has(key)) continue;
      this.#seen.add(key);
      for (const old of this.#seen) {
        if (this.#seen.size <= MAX_SEEN) break;
        this.#seen.delete(old);
      }
      this.#options.message(message);
    }
  }

  #setStatus(status: Status): void {
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

function delay(ms: number, signal: AbortSignal): Promise<void> {
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
