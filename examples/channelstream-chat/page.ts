import { isMessage, type Message } from "../channelstream-client/client.ts";
import {
  callApplication,
  element,
  type Fields,
  listen,
  make,
  named,
  timeItem,
  userName,
} from "../channelstream-client/page.ts";

/** State of one channel. */
interface ChannelState {
  /** Messages by uuid, in the order of arrival. */
  readonly messages: Map<string, Message>;
  readonly users: Set<string>;
  unread: number;
}

const user = userName();
const channels = new Map<string, ChannelState>();
const states = new Map<string, Fields>();
let names: readonly string[] = [];
let current = "";

const list = element("messages", HTMLOListElement);
const error = element("error", HTMLElement);
const form = element("form", HTMLFormElement);
const color = element("color", HTMLInputElement);
const away = element("away", HTMLInputElement);

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** Sends an action of this connection to the application, and shows an error. */
function act(action: string, parameters: Fields): Promise<Fields> {
  error.textContent = "";
  return callApplication(action, { conn_id: client.connId, ...parameters }).catch((reason: unknown) => {
    error.textContent = reason instanceof Error ? reason.message : String(reason);
    return {};
  });
}

/** Stores the `channels_info` of a response. */
function storeInfo(info: Fields): void {
  for (const [name, details] of Object.entries(fields(info.channels))) {
    const { history, users } = fields(details);
    const channel: ChannelState = channels.get(name) ?? { messages: new Map(), users: new Set(), unread: 0 };
    channels.set(name, channel);
    if (Array.isArray(users)) for (const one of users) channel.users.add(String(one));
    if (Array.isArray(history))
      for (const one of history) if (isMessage(one)) channel.messages.set(one.uuid, one);
  }
  if (!Array.isArray(info.users)) return;
  for (const one of info.users) {
    const { user: name, state } = fields(one);
    states.set(String(name), fields(state));
  }
}

function receive(message: Message): void {
  const channel = message.channel === null ? undefined : channels.get(message.channel);
  if (channel === undefined) return;
  const { uuid, type } = message;
  const known = channel.messages.get(uuid);
  if (type === "message") {
    channel.messages.set(uuid, message);
    if (message.channel !== current) channel.unread++;
  } else if (type === "message:edit" && known !== undefined)
    channel.messages.set(uuid, { ...known, ...message, type: "message" });
  else if (type === "message:delete") channel.messages.delete(uuid);
  else if (type === "presence" && typeof message.user === "string") {
    if (message.message?.action === "joined") channel.users.add(message.user);
    else channel.users.delete(message.user);
    for (const { user: name, state } of message.users ?? []) states.set(name, state);
  } else if (type === "user_state_change" && typeof message.user === "string") {
    states.set(message.user, fields(message.message?.state));
  }
  render();
}

function render(): void {
  const channel = channels.get(current);
  named(element("user", HTMLElement), user, colorOf(user)).textContent = user;
  const messages = [...(channel?.messages.values() ?? [])];
  list.replaceChildren(...messages.map((message, index) => messageItem(message, messages[index - 1])));
  list.scrollTop = list.scrollHeight;
  element("users", HTMLUListElement).replaceChildren(
    ...[...(channel?.users ?? [])].sort().map((name) => {
      const item = make("li", name, states.get(name)?.away === true ? "away" : "");
      return named(item, name, colorOf(name));
    }),
  );
  element("channels", HTMLUListElement).replaceChildren(...names.map(channelItem));
  const unread = [...channels.values()].reduce((sum, each) => sum + each.unread, 0);
  document.title = unread === 0 ? "Chat" : `(${unread}) Chat`;
}

function colorOf(name: string): string {
  return String(states.get(name)?.color ?? "");
}

/** `previous` is the message above, whose author is not repeated. */
function messageItem(
  { uuid, user: from, message, edited, timestamp }: Message,
  previous: Message | undefined,
): HTMLElement {
  const name = String(from);
  const item = named(make("li", "", from === previous?.user ? "again" : ""), name, colorOf(name));
  const line = make("p", "", "line");
  line.append(make("span", String(message?.text ?? ""), "text"));
  item.append(make("strong", name), make("span", ": ", "colon"), line, timeItem(timestamp));
  if (edited) line.append(make("small", " (edited)"));
  if (from !== user) return item;
  const edit = make("button", "edit", "small");
  edit.onclick = () => {
    const text = prompt("New text", String(message?.text ?? ""));
    if (text) void act("edit", { uuid, channel: current, text });
  };
  const remove = make("button", "delete", "small");
  remove.onclick = () => void act("remove", { uuid, channel: current });
  line.append(edit, remove);
  return item;
}

function channelItem(name: string): HTMLElement {
  const item = make("li", "");
  const channel = channels.get(name);
  const open = make("button", `# ${name}`, "open");
  if (channel !== undefined && channel.unread > 0)
    open.append(make("span", String(channel.unread), "unread"));
  open.setAttribute("aria-current", String(name === current));
  open.onclick = () => void openChannel(name);
  item.append(open);
  if (channel === undefined || name === names[0]) return item;
  const leave = make("button", "×", "small");
  leave.ariaLabel = `leave ${name}`;
  leave.onclick = () => void leaveChannel(name);
  item.append(leave);
  return item;
}

async function openChannel(name: string): Promise<void> {
  if (!channels.has(name)) storeInfo(fields((await act("join", { channel: name })).info));
  current = name;
  const channel = channels.get(name);
  if (channel !== undefined) channel.unread = 0;
  render();
}

async function leaveChannel(name: string): Promise<void> {
  await act("leave", { channel: name });
  channels.delete(name);
  if (current === name) current = names[0] ?? "";
  render();
}

render();
const client = listen(async () => {
  const { conn_id, state, channels: available, info } = await callApplication("connect", { user });
  names = Array.isArray(available) ? available.map(String) : [];
  // A new connection has joined only the first channel.
  channels.clear();
  current = names[0] ?? "";
  storeInfo(fields(info));
  color.value = String(fields(state).color ?? "");
  away.checked = fields(state).away === true;
  render();
  return String(conn_id);
}, receive);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void act("send", { channel: current, text: new FormData(form).get("text") }).then(() => form.reset());
});
for (const input of [color, away]) {
  input.onchange = () => void act("state", { color: color.value, away: away.checked });
}
