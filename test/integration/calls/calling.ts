import type { Inbox } from "../inbox.ts";
import { eventually, type PhoenixClient, type Reply, replyOf } from "../phoenix-client.ts";
import type { Heard } from "../world.ts";

/** A call as a backend gets it. */
export interface ReceivedCall {
  /** Its name on the bus; empty in a queue. */
  readonly name: string;
  /** The envelope. */
  readonly text: string;
  readonly reply: string;
  readonly deadline: number;
  // biome-ignore lint/suspicious/noExplicitAny: the tests check what a call holds
  readonly [field: string]: any;
}

export function parseCall(text: string, name = ""): ReceivedCall {
  return { ...JSON.parse(text), name, text };
}

export async function nextCall(calls: Inbox<Heard>): Promise<ReceivedCall> {
  const { name, payload } = await calls.next();
  return parseCall(payload.toString(), name);
}

let lastRef = 1000;

/** Pushes a call, and does not wait for its reply. Returns its ref. */
export function startCall(client: PhoenixClient, topic: string, event = "search", payload = "{}"): string {
  const ref = String(++lastRef);
  client.send({ joinRef: null, ref, topic, event, payload });
  return ref;
}

/** Waits for the reply with a ref, in any order with other replies. */
export function replyTo(client: PhoenixClient, ref: string): Promise<Reply> {
  return eventually(() => {
    const found = client.frames.all.find((each) => each.event === "phx_reply" && each.ref === ref);
    return found === undefined ? null : replyOf(found);
  }, `reply ${ref}`);
}

/** The reason of a reply with an error, otherwise its status. */
export async function reasonOf(client: PhoenixClient, ref: string): Promise<unknown> {
  const { status, response } = await replyTo(client, ref);
  return status === "error" ? Object(response).reason : status;
}

/** The value of a metric: `channel_calls_total{result="ok"}`. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no metric ${name}`);
  return Number(line.slice(name.length));
}
