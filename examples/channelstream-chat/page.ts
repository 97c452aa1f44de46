import { isMessage, type Message } from "../channelstream-client/client.ts";
import { ask, element, type Fields, listen, make, userName } from "../channelstream-client/page.ts";

/** What is known of one channel. */
interface Room {
  /** Messages in their order, by uuid. */
  readonly messages: Map<string, Message>;
  readonly users: Set<string>;
  unread: number;
}

const user = userName();
const rooms = new Map<string, Room>();
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

/** Asks the application in the name of this window's connection; tells what went wrong. */
function act(action: string, asked: Fields): Promise<Fields> {
  error.textContent = "";
  return ask(action, { conn_id: client.connId, ...asked }).catch((reason: unknown) => {
    error.textContent = reason instanceof Error ? reason.message : String(reason);
    return {};
  });
}

/** Takes over what an answer tells of channels and users: `channels_info`. */
function learn(info: Fields): void {
  for (const [name, told] of Object.entries(fields(info.channels))) {
    const { history, users } = fields(told);
    const room: Room = rooms.get(name) ?? { messages: new Map(), users: new Set(), unread: 0 };
    rooms.set(name, room);
    if (Array.isArray(users)) for (const one of users) room.users.add(String(one));
    if (Array.isArray(history))
      for (const one of history) if (isMessage(one)) room.messages.set(one.uuid, one);
  }
  if (!Array.isArray(info.users)) return;
  for (const one of info.users) {
    const { user: name, state } = fields(one);
    states.set(String(name), fields(state));
  }
}

function take(message: Message): void {
  const room = message.channel === null ? undefined : rooms.get(message.channel);
  if (room === undefined) return;
  const { uuid, type } = message;
  const known = room.messages.get(uuid);
  if (type === "message") {
    room.messages.set(uuid, message);
    if (message.channel !== current) room.unread++;
  } else if (type === "message:edit" && known !== undefined)
    room.messages.set(uuid, { ...known, ...message, type: "message" });
  else if (type === "message:delete") room.messages.delete(uuid);
  else if (type === "presence" && typeof message.user === "string") {
    if (message.message?.action === "joined") room.users.add(message.user);
    else room.users.delete(message.user);
    for (const { user: name, state } of message.users ?? []) states.set(name, state);
  } else if (type === "user_state_change" && typeof message.user === "string") {
    states.set(message.user, fields(message.message?.state));
  }
  show();
}

function show(): void {
  const room = rooms.get(current);
  list.replaceChildren(...[...(room?.messages.values() ?? [])].map(lineOf));
  element("users", HTMLUListElement).replaceChildren(
    ...[...(room?.users ?? [])].sort().map((name) => {
      const state = states.get(name);
      const item = make("li", name, state?.away === true ? "away" : "");
      item.style.color = String(state?.color ?? "");
      return item;
    }),
  );
  element("channels", HTMLUListElement).replaceChildren(...names.map(channelOf));
}

function lineOf({ uuid, user: from, message, edited }: Message): HTMLElement {
  const item = make("li", "");
  const name = make("strong", `${from}: `);
  name.style.color = String(states.get(String(from))?.color ?? "");
  item.append(name, make("span", String(message?.text ?? ""), "text"));
  if (edited) item.append(make("small", " (edited)"));
  if (from !== user) return item;
  const edit = make("button", "edit", "small");
  edit.onclick = () => {
    const text = prompt("Say instead", String(message?.text ?? ""));
    if (text) void act("edit", { uuid, channel: current, text });
  };
  const remove = make("button", "delete", "small");
  remove.onclick = () => void act("remove", { uuid, channel: current });
  item.append(edit, remove);
  return item;
}

function channelOf(name: string): HTMLElement {
  const item = make("li", "");
  const room = rooms.get(name);
  const unread = room !== undefined && room.unread > 0 ? ` (${room.unread})` : "";
  const go = make("button", `# ${name}${unread}`);
  go.setAttribute("aria-current", String(name === current));
  go.onclick = () => void enter(name);
  item.append(go);
  if (room === undefined || name === names[0]) return item;
  const leave = make("button", `leave ${name}`, "small");
  leave.onclick = () => void exit(name);
  item.append(leave);
  return item;
}

async function enter(name: string): Promise<void> {
  if (!rooms.has(name)) learn(fields((await act("join", { channel: name })).info));
  current = name;
  const room = rooms.get(name);
  if (room !== undefined) room.unread = 0;
  show();
}

async function exit(name: string): Promise<void> {
  await act("leave", { channel: name });
  rooms.delete(name);
  if (current === name) current = names[0] ?? "";
  show();
}

element("user", HTMLElement).textContent = user;
const client = listen(async () => {
  const { conn_id, state, channels, info } = await ask("connect", { user });
  names = Array.isArray(channels) ? channels.map(String) : [];
  // A new connection is in the first channel alone.
  rooms.clear();
  current = names[0] ?? "";
  learn(fields(info));
  color.value = String(fields(state).color ?? "");
  away.checked = fields(state).away === true;
  show();
  return String(conn_id);
}, take);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void act("say", { channel: current, text: new FormData(form).get("text") }).then(() => form.reset());
});
for (const input of [color, away]) {
  input.onchange = () => void act("state", { color: color.value, away: away.checked });
}
