/** What both pages need of the document and of their web application. */
import { ChannelstreamClient, type Message, type Status } from "./client.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** The element with this id, of this kind; the page is wrong where there is none. */
export function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

/** A new element with text in it. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text: string,
  className = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Asks the web application to do something. */
export async function ask(action: string, fields: Fields): Promise<Fields> {
  const response = await fetch(`/app/${action}`, { method: "POST", body: JSON.stringify(fields) });
  const answer: unknown = await response.json();
  const read: Fields = typeof answer === "object" && answer !== null ? { ...answer } : {};
  if (!response.ok) throw new Error(String(read.error));
  return read;
}

/** The user of this window: `?name=`, or a random one that stays in the address. */
export function userName(): string {
  const address = new URL(location.href);
  const name = address.searchParams.get("name") ?? `guest-${Math.floor(Math.random() * 10_000)}`;
  address.searchParams.set("name", name);
  history.replaceState(null, "", address);
  return name;
}

/** Listens as this user until the page goes; the element `status` says how. */
export function listen(
  connect: () => Promise<string>,
  message: (message: Message) => void,
): ChannelstreamClient {
  const server = document.querySelector<HTMLMetaElement>('meta[name="server"]')?.content ?? "";
  const status = element("status", HTMLElement);
  const client = new ChannelstreamClient({
    server,
    connect,
    message,
    status: (now: Status) => {
      status.textContent = now;
    },
  });
  addEventListener("pagehide", () => client.stop());
  return client;
}
