import { LongPoll, Presence, Socket } from "phoenix";
import { eventually } from "./phoenix-client.ts";

/** A phoenix.js client in one channel, as an application writes it. */
export interface ReloadClient {
  readonly channel: string;
  /** Numbers of the messages received, in order. */
  readonly numbers: readonly number[];
  /** Answers to joins: `recovered`, or `"none"` for a client that does not ask for it. */
  readonly joins: readonly unknown[];
  /** Times (ms) from a lost connection until it had joined again. */
  readonly absences: readonly number[];
  /** Connection attempts that failed. */
  readonly failures: number;
  readonly joined: boolean;
  /** Users that it saw leave, and not only replace a connection. */
  readonly leaves: readonly string[];
  disconnect(): void;
}

/** Connects by phoenix.js as it is. @param recovers whether it asks for what it missed, as the documentation says */
export function startReloadClient(
  url: string,
  name: string,
  token: string,
  recovers: boolean,
  transport: "websocket" | "longpoll" = "websocket",
): ReloadClient {
  const socket = new Socket(
    `${url.replace("http", "ws")}/websocket`,
    transport === "longpoll" ? { transport: LongPoll } : {},
  );
  const numbers: number[] = [];
  const joins: unknown[] = [];
  const absences: number[] = [];
  let position: string | null = null;
  let lostAt: number | null = null;
  let failures = 0;
  let open = false;
  socket.onOpen(() => {
    open = true;
  });
  socket.onClose(() => {
    if (open) lostAt ??= performance.now();
    else failures++;
    open = false;
  });
  socket.connect();
  const channel = socket.channel(name, () => (recovers ? { token, recover: position } : { token }));
  if (recovers) {
    channel.onMessage = (_event: string, payload: unknown, ref: unknown) => {
      if (typeof ref === "string" && ref.includes("-")) position = ref;
      return payload;
    };
  }
  const leaves: string[] = [];
  new Presence(channel).onLeave((user, { metas }) => {
    if (metas.length === 0) leaves.push(user);
  });
  channel.on("news", (payload: unknown) => void numbers.push(Number(Object(payload).n)));
  channel.join().receive("ok", (answer: unknown) => {
    const fields = Object(answer);
    if (recovers) position = fields.position ?? position;
    joins.push(recovers ? fields.recovered : "none");
    if (lostAt !== null) absences.push(performance.now() - lostAt);
    lostAt = null;
  });
  return {
    channel: name,
    numbers,
    joins,
    absences,
    leaves,
    get failures() {
      return failures;
    },
    get joined() {
      return joins.length > 0 && lostAt === null;
    },
    disconnect: () => socket.disconnect(),
  };
}

/** Publishes `perSecond` numbered messages over the channels, until it is stopped. */
export function startNumbers(
  publish: (name: string, payload: string) => Promise<unknown>,
  channels: readonly string[],
  perSecond: number,
): { stop(): Promise<ReadonlyMap<string, number>> } {
  const TICK = 10;
  const last = new Map<string, number>();
  const startedAt = performance.now();
  let sent = 0;
  let pending: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) * perSecond) / 1000);
    for (; sent < due; sent++) {
      const channel = channels[sent % channels.length] ?? "";
      const n = (last.get(channel) ?? 0) + 1;
      last.set(channel, n);
      pending = publish(`to:${channel}:news`, `{"n":${n}}`);
    }
  }, TICK);
  return {
    async stop() {
      clearInterval(timer);
      await pending;
      return last;
    },
  };
}

/** Waits until all clients are members. */
export function untilJoined(clients: readonly ReloadClient[], timeout = 60_000): Promise<boolean> {
  return eventually(() => clients.every(({ joined }) => joined), "that all clients are members", timeout);
}
