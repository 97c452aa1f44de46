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

/** Gives an element the initial and the color of a user, for the style sheet. Without a color one follows from the name. */
export function named<T extends HTMLElement>(target: T, name: string, color = ""): T {
  const hue = [...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360, 7);
  target.dataset.initial = [...name][0]?.toUpperCase() ?? "";
  target.style.setProperty("--hue", String(hue));
  target.style.setProperty("--color", color === "" ? null : color);
  return target;
}

/** The time of a message, for example `14:03`. The server's timestamps are in UTC and name no zone. */
export function timeItem(timestamp: string | undefined): HTMLTimeElement {
  const date = new Date(`${timestamp}Z`);
  const isValid = !Number.isNaN(date.getTime());
  const made = make("time", isValid ? date.toLocaleTimeString([], { timeStyle: "short" }) : "");
  if (isValid) made.title = date.toLocaleString();
  return made;
}

/** Calls an action of the web application. Throws its error. */
export async function callApplication(action: string, parameters: Fields): Promise<Fields> {
  const body = JSON.stringify(parameters);
  const response = await fetch(`/app/${action}`, { method: "POST", body }).catch(() => {
    throw new Error("No response from the application.");
  });
  const answer: unknown = await response.json();
  const result: Fields = typeof answer === "object" && answer !== null ? { ...answer } : {};
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

const STATUS: Readonly<Record<Status, string>> = {
  connecting: "Connecting",
  websocket: "Live (WebSocket)",
  polling: "Live (long polling)",
  offline: "Offline, reconnecting",
  stopped: "Stopped",
};

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
      status.textContent = STATUS[now];
      status.dataset.status = now;
    },
  });
  addEventListener("pagehide", () => client.stop());
  return client;
}
