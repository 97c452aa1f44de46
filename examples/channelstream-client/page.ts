/** DOM and request functions of both example pages. */
import { ChannelstreamClient, type Message, type Status } from "./client.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** The element with an id. Throws if it is missing or of another type. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id} of type ${type.name}`);
  return found;
}

/** A new element with text. */
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

/** Calls an action of the web application. Throws its error. */
export async function callApplication(action: string, parameters: Fields): Promise<Fields> {
  const response = await fetch(`/app/${action}`, { method: "POST", body: JSON.stringify(parameters) });
  const body: unknown = await response.json();
  const result: Fields = typeof body === "object" && body !== null ? { ...body } : {};
  if (!response.ok) throw new Error(String(result.error));
  return result;
}

/** The user of this page: `?name=`, or a random name that is added to the URL. */
export function userName(): string {
  const address = new URL(location.href);
  const name = address.searchParams.get("name") ?? `guest-${Math.floor(Math.random() * 10_000)}`;
  address.searchParams.set("name", name);
  history.replaceState(null, "", address);
  return name;
}

/** Receives messages until the page is closed. The element `status` shows the state of the client. */
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
