import { isMessage, type Message } from "../channelstream-client/client.ts";
import { callApplication, element, listen, make, userName } from "../channelstream-client/page.ts";

const user = userName();
const form = element("form", HTMLFormElement);
const list = element("list", HTMLOListElement);
const error = element("error", HTMLElement);
const shown = new Set<string>();

function show({ uuid, type, user: from, message, channel }: Message): void {
  if (type !== "message" || shown.has(uuid)) return;
  shown.add(uuid);
  const item = make("li", String(message?.text ?? ""), String(message?.level ?? "info"));
  item.append(make("small", ` from ${from ?? "a backend"}${channel === null ? ", private" : ""}`));
  list.prepend(item);
}

element("user", HTMLElement).textContent = user;
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
      error.textContent = String(reason);
    },
  );
});
