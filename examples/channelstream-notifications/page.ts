import { isMessage, type Message } from "../channelstream-client/client.ts";
import {
  callApplication,
  element,
  listen,
  make,
  named,
  timeItem,
  userName,
} from "../channelstream-client/page.ts";

const user = userName();
const form = element("form", HTMLFormElement);
const list = element("list", HTMLOListElement);
const error = element("error", HTMLElement);
const shown = new Set<string>();

let unread = 0;

/** The number of notifications that came while the page was hidden, in its title. */
function renderTitle(): void {
  document.title = unread === 0 ? "Notifications" : `(${unread}) Notifications`;
}

function show({ uuid, type, user: from, message, channel, timestamp }: Message): void {
  if (type !== "message" || shown.has(uuid)) return;
  shown.add(uuid);
  const sender = from ?? "a backend";
  const item = named(make("li", "", String(message?.level ?? "info")), sender);
  item.classList.toggle("private", channel === null);
  const origin = ` from ${sender}${channel === null ? ", private" : ""}`;
  item.append(make("span", String(message?.text ?? "")), make("small", origin), timeItem(timestamp));
  list.prepend(item);
  if (document.hidden) unread++;
  renderTitle();
}

document.addEventListener("visibilitychange", () => {
  unread = 0;
  renderTitle();
});
named(element("user", HTMLElement), user).textContent = user;
listen(async () => {
  const { conn_id, history } = await callApplication("connect", { user });
  if (Array.isArray(history)) for (const one of history) if (isMessage(one)) show(one);
  return String(conn_id);
}, show);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  callApplication("notify", { user, ...Object.fromEntries(new FormData(form)) }).then(
    () => {
      error.textContent = "";
      form.reset();
    },
    (reason: unknown) => {
      error.textContent = reason instanceof Error ? reason.message : String(reason);
    },
  );
});
