import { Inbox, short } from "../inbox.ts";
import { type Box, isWithin } from "./box.ts";

/** A message that arrived. */
export interface Arrival {
  /** When it was published, Unix time in ms. */
  readonly sent: number;
  /** From publishing to arrival, in ms. */
  readonly late: number;
}

/** What a page of the `jet1090` plugin does on its socket, without the map: join, say what it shows, take aircraft. */
export interface StreamingPage {
  readonly id: string;
  /** How late each message was, in the order of arrival. */
  readonly arrivals: readonly Arrival[];
  /** Its first fault, in a sentence: a message lost, repeated, out of order, altered, or an answer that is no ok. */
  readonly fault: string | null;
  /** Tells the backend what the map shows from now on. */
  look(box: Box): Promise<void>;
  /** Tells the backend to send nothing more. */
  leave(): Promise<void>;
  /** How many of the aircraft of the last message are within a box, and how many there are. */
  within(box: Box): { readonly within: number; readonly all: number };
  close(): void;
}

const HEAD =
  /^\[null,null,"([^"]*)","new-jet1090-data",\{"sequence":(\d+),"sent":([\d.]+),"digest":"(\w+)","count":(\d+),"aircraft":/;

/** Connects and starts to stream; `tokenOf` gives the token for a channel. */
export async function openStreamingPage(
  url: string,
  id: string,
  tokenOf: (channel: string) => string,
  box: Box,
): Promise<StreamingPage> {
  const streaming = `streaming-${id}`;
  const socket = new WebSocket(`${url.replace("http", "ws")}/websocket?vsn=2.0.0`);
  const replies = new Inbox<string>(`page ${id}`, short);
  let ref = 0;
  const arrivals: Arrival[] = [];
  let fault: string | null = null;
  let last = "";
  let closing = false;

  const take = (text: string, now: number): void => {
    const head = HEAD.exec(text.slice(0, 300));
    if (head === null) {
      if (text.includes('"phx_reply"')) replies.put(text);
      return;
    }
    const [start, channel, sequence, sent, digest] = head;
    arrivals.push({ sent: Number(sent), late: now - Number(sent) });
    last = text.slice(start.length, -2);
    if (channel !== streaming) fault ??= `${channel} reached ${streaming}`;
    if (Number(sequence) !== arrivals.length)
      fault ??= `message ${sequence} came as number ${arrivals.length}`;
    if (Bun.hash(last).toString(16) !== digest) fault ??= `message ${sequence} was altered on its way`;
  };
  socket.addEventListener("message", (event: MessageEvent<unknown>) => {
    const now = performance.timeOrigin + performance.now();
    if (typeof event.data === "string") take(event.data, now);
    else fault ??= "a binary frame came";
  });
  socket.addEventListener("close", (event) => {
    if (!closing) fault ??= `closed with ${event.code}`;
    replies.end("the socket is closed");
  });
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error(`no connection to ${url}`)));
  });

  const say = async (joinRef: string, topic: string, event: string, payload: object): Promise<void> => {
    const own = String(++ref);
    socket.send(JSON.stringify([joinRef, own, topic, event, payload]));
    const reply = await replies.until((each) => each.startsWith(`["${joinRef}","${own}",`), `reply ${own}`);
    if (!reply.includes('"status":"ok"')) fault ??= `${event} on ${topic} was answered ${short(reply)}`;
  };
  const page: StreamingPage = {
    id,
    arrivals,
    get fault() {
      return fault;
    },
    look: (to) => say("1", "system", "bound-box", { connectionId: id, ...to, selectedEntities: [] }),
    leave: () => say("1", "system", "leave-streaming", { connectionId: id }),
    within: (of) => {
      const list: unknown = JSON.parse(last);
      if (!Array.isArray(list)) throw new Error("the aircraft are no list");
      const within = list.filter((each: unknown) => {
        if (typeof each !== "object" || each === null) return false;
        return isWithin(of, Number(Reflect.get(each, "latitude")), Number(Reflect.get(each, "longitude")));
      });
      return { within: within.length, all: list.length };
    },
    close: () => {
      closing = true;
      socket.close();
    },
  };
  await say("1", "system", "phx_join", { token: tokenOf("system") });
  await page.look(box);
  await say("2", streaming, "phx_join", { token: tokenOf(streaming) });
  await say("1", "system", "join-streaming", { connectionId: id });
  return page;
}
