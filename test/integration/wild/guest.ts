import { type Channel, LongPoll, Presence, Socket, type SocketOptions } from "phoenix";
import { Inbox, short } from "../inbox.ts";

export type Transport = "websocket" | "longpoll";

export const TRANSPORTS: readonly Transport[] = ["websocket", "longpoll"];

/** A page's part of phoenix.js, with all its own timing, and what happened to it. */
export interface Guest {
  readonly socket: Socket;
  /** `open`, `close CODE`. */
  readonly events: Inbox<string>;
  room(topic: string, params?: object | (() => object)): Room;
  leave(): void;
}

export interface Room {
  readonly channel: Channel;
  readonly presence: Presence;
  /** `ok` for each join, rejoins included, else the reason for which it was refused; `closed`, `error REASON`. */
  readonly events: Inbox<string>;
  /** Payloads of what was broadcast as `n`, in order. */
  readonly messages: Inbox<unknown>;
  /** Both of these in the order in which they came. */
  readonly story: readonly unknown[];
  /** What became of a push. */
  push(event: string, payload: object | ArrayBuffer, timeout?: number): Promise<string>;
}

/** Connects phoenix.js to `http://...`. What `options` leaves out is as phoenix.js has it. */
export function invite(url: string, transport: Transport, options: SocketOptions = {}): Guest {
  const socket = new Socket(`${url.replace("http", "ws")}/websocket`, {
    ...(transport === "longpoll" ? { transport: LongPoll } : {}),
    ...options,
  });
  const events = new Inbox<string>("page", short);
  socket.onOpen(() => events.put("open"));
  socket.onClose((event) => events.put(`close ${Object(event).code}`));
  socket.connect();
  return {
    socket,
    events,
    room: (topic, params = {}) => roomOf(socket.channel(topic, params)),
    leave: () => socket.disconnect(),
  };
}

function roomOf(channel: Channel): Room {
  const events = new Inbox<string>(channel.topic, short);
  const messages = new Inbox<unknown>(channel.topic, (message) => short(JSON.stringify(message)));
  const story: unknown[] = [];
  const happened = (event: string): void => {
    story.push(event);
    events.put(event);
  };
  const presence = new Presence(channel);
  channel
    .join()
    .receive("ok", () => happened("ok"))
    .receive("error", (response) => happened(String(Object(response).reason)))
    .receive("timeout", () => happened("timeout"));
  channel.onError((reason) => happened(`error ${Object(reason).reason ?? reason}`));
  channel.onClose(() => happened("closed"));
  channel.on("n", (message) => {
    story.push(message);
    messages.put(message);
  });
  return {
    channel,
    presence,
    events,
    messages,
    story,
    push: (event, payload, timeout) =>
      new Promise((resolve) => {
        channel
          .push(event, payload, timeout)
          .receive("ok", () => resolve("ok"))
          .receive("error", (response) => resolve(String(Object(response).reason)))
          .receive("timeout", () => resolve("timeout"));
      }),
  };
}

/** Who is present and how often, as phoenix.js folded it. */
export function present(room: Room): Record<string, number> {
  const counts: Record<string, number> = {};
  room.presence.list((id, { metas }) => {
    counts[id] = metas.length;
  });
  return counts;
}

/** Numbers that a page missed without notice: gaps in its sequence except after a rejoin. */
export function silentGaps(story: readonly unknown[]): string[] {
  const gaps: string[] = [];
  let last: number | null = null;
  for (const each of story) {
    if (typeof each !== "number") last = each === "ok" ? null : last;
    else {
      if (last !== null && each !== last + 1) gaps.push(`${each} after ${last}`);
      last = each;
    }
  }
  return gaps;
}
