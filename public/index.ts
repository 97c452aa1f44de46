import { watchBus } from "./client/bus-state.ts";
import { Connection } from "./client/connection.ts";
import { Membership } from "./client/membership.ts";
import { initPushForm } from "./client/push-form.ts";
import { showRecipients } from "./client/recipients.ts";
import { LANGUAGES, type Language, publishCommand, snippet } from "./client/snippets.ts";
import { copyButton } from "./shared/copy.ts";
import { MessageStream } from "./shared/message-stream.ts";
import {
  button,
  container,
  element,
  field,
  oncePerFrame,
  setStatus,
  setText,
  textElement,
} from "./shared/page.ts";

/** Channel with the clock; joined at start. */
const CLOCK = "system";

/** Events not shown in the message list: the clock, presence and protocol events. */
const HIDDEN_EVENTS = /^(datetime|presence_state|presence_diff|chan_reply_.*|phx_.*)$/;

/** Joined by the button of the empty message list. */
const EXAMPLE_CHANNEL = "room:1";

/** Maximum users shown. */
const MAX_USERS = 200;

const name = new URLSearchParams(location.search).get("name")?.trim() || "anonymous";
element("name", HTMLInputElement).value = name === "anonymous" ? "" : name;

const list = element("joined", HTMLUListElement);
const joinForm = element("join", HTMLFormElement);
const joinName = element("join-name", HTMLInputElement);
const joinToken = element("join-token", HTMLInputElement);
const target = element("target", HTMLSelectElement);
const send = element("send", HTMLButtonElement);
const stream = new MessageStream("stream", { channels: true });
const memberships = new Map<string, Membership>();
let chosen = CLOCK;
let language: Language = "curl";

const render = oncePerFrame(() => {
  renderChannels();
  renderUsers();
  renderTarget();
  renderSnippet();
  renderEmptyStream();
});

const connection = new Connection(name, {
  onToggle: render,
  onSocket(socket) {
    for (const membership of memberships.values()) void membership.join(socket);
    joinOn = (membership) => void membership.join(socket);
  },
  onMessage({ topic, event, payload }) {
    if (topic === CLOCK && event === "datetime") return showClock(payload);
    if (!memberships.has(topic) || HIDDEN_EVENTS.test(event)) return;
    const bytes = payload instanceof ArrayBuffer ? new Uint8Array(payload) : null;
    stream.add({
      at: Date.now(),
      channel: topic,
      event,
      direction: "to",
      by: "",
      payload: bytes === null ? { value: payload } : { bytes },
      size: bytes?.length ?? null,
      truncated: false,
    });
  },
});
let joinOn: (membership: Membership) => void = () => {};

function join(channel: string, token = ""): void {
  memberships.get(channel)?.leave();
  const membership = new Membership(channel, name, token, { onChange: render });
  memberships.set(channel, membership);
  joinOn(membership);
  render();
}

/** Rows by channel. They are updated, not replaced, so that keyboard focus stays. */
const rows = new Map<string, { readonly item: HTMLElement; update(): void }>();

function rowOf(membership: Membership): { readonly item: HTMLElement; update(): void } {
  const { name: channel } = membership;
  const nameButton = button(channel, () => choose(channel), "name");
  const state = textElement("span", "", "state");
  const left = () => memberships.get(channel)?.channel === null;
  const toggle = button("Leave", () => {
    const current = memberships.get(channel);
    if (current === undefined) return;
    if (left()) joinOn(current);
    else current.leave();
  });
  const remove = button("×", () => {
    memberships.get(channel)?.leave();
    memberships.delete(channel);
    if (chosen === channel) chosen = memberships.keys().next().value ?? "";
    render();
  });
  remove.setAttribute("aria-label", `Remove ${channel}`);
  const item = container("li", "", nameButton, container("span", "actions", toggle, remove), state);
  return {
    item,
    update() {
      const current = memberships.get(channel);
      if (current === undefined) return;
      nameButton.setAttribute("aria-pressed", String(channel === chosen));
      const disconnected = connection.disconnected && current.channel !== null;
      const status = disconnected ? { text: "disconnected", level: "bad" as const } : current.status;
      if (state.textContent !== status.text || state.dataset.state !== status.level) {
        setStatus(state, status.text, status.level);
      }
      setText(toggle, left() ? "Rejoin" : "Leave");
      toggle.setAttribute("aria-label", `${left() ? "Rejoin" : "Leave"} ${channel}`);
      item.title = current.agent === "" ? channel : `agent ${current.agent}`;
    },
  };
}

function renderChannels(): void {
  for (const [channel, { item }] of rows) {
    if (memberships.has(channel)) continue;
    item.remove();
    rows.delete(channel);
  }
  for (const [channel, membership] of memberships) {
    let row = rows.get(channel);
    if (row === undefined) {
      row = rowOf(membership);
      rows.set(channel, row);
      list.append(row.item);
    }
    row.update();
  }
  element("none-joined", HTMLParagraphElement).hidden = memberships.size > 0;
}

function choose(channel: string): void {
  chosen = channel;
  render();
}

function renderUsers(): void {
  const membership = memberships.get(chosen);
  const users = membership?.users ?? [];
  setText(element("users-channel", HTMLElement), chosen || "…");
  setText(element("users-total", HTMLSpanElement), users.length === 0 ? "" : String(users.length));
  const note = element("no-users", HTMLParagraphElement);
  note.hidden = users.length > 0;
  setText(
    note,
    membership?.joined ? "No user is shown for this channel." : "Join a channel to see its users.",
  );
  const items = users.slice(0, MAX_USERS).map(({ user, count }) => {
    const item = textElement("li", count > 1 ? `${user} ×${count}` : user);
    item.title = user;
    if (user === name) item.dataset.own = "";
    return item;
  });
  if (users.length > MAX_USERS) items.push(textElement("li", `and ${users.length - MAX_USERS} more`));
  element("users", HTMLUListElement).replaceChildren(...items);
}

function renderTarget(): void {
  const names = [...memberships.keys()];
  const shown = [...target.options].map(({ value }) => value);
  if (names.join("\0") !== shown.join("\0")) {
    target.replaceChildren(...names.map((each) => new Option(each, each)));
  }
  target.value = chosen;
  const membership = memberships.get(chosen) ?? null;
  send.disabled = !(membership?.joined ?? false);
  showRecipients(membership, element("event", HTMLInputElement).value, connection.disconnected);
}

function exampleCommand(): string {
  const channel = chosen === "" || chosen === CLOCK ? EXAMPLE_CHANNEL : chosen;
  return publishCommand(channel, "hello", '{"message": "Hello"}');
}

function renderEmptyStream(): void {
  setText(element("stream-command", HTMLPreElement), exampleCommand());
  element("join-example", HTMLButtonElement).hidden = [...memberships.keys()].some((each) => each !== CLOCK);
}

const code = element("snippet", HTMLPreElement);
// Scrollable, so it must be reachable by keyboard.
code.tabIndex = 0;
code.setAttribute("role", "region");
code.setAttribute("aria-label", "Example");

function currentSnippet(): string {
  const payload = element("payload", HTMLTextAreaElement).value.trim() || "{}";
  const event = element("event", HTMLInputElement).value || "event";
  return snippet(language, { channel: chosen || EXAMPLE_CHANNEL, user: name, event, payload });
}

function renderSnippet(): void {
  setText(code, currentSnippet());
}

function showClock(payload: unknown): void {
  const response = field(payload, "response");
  const text = field(response, "datetime");
  const date = typeof text === "string" ? new Date(text) : null;
  if (date === null || Number.isNaN(date.getTime())) return;
  const time = element("time", HTMLTimeElement);
  time.textContent = date.toLocaleTimeString();
  time.dateTime = date.toISOString();
  setText(element("date", HTMLElement), date.toLocaleDateString(undefined, { dateStyle: "medium" }));
  element("counter", HTMLOutputElement).value = String(field(response, "counter"));
}

joinForm.addEventListener("submit", (submit) => {
  submit.preventDefault();
  const channel = joinName.value;
  if (channel === "") return;
  chosen = channel;
  join(channel, joinToken.value.trim());
  joinName.value = "";
  joinToken.value = "";
});
target.addEventListener("change", () => choose(target.value));
for (const id of ["event", "payload"]) document.getElementById(id)?.addEventListener("input", render);

const languages = element("languages", HTMLElement);
for (const each of LANGUAGES) {
  const choice = button(each, () => {
    language = each;
    for (const other of languages.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other.textContent === each));
    }
    render();
  });
  choice.setAttribute("aria-pressed", String(each === language));
  languages.append(choice);
}
element("snippet-copy", HTMLElement).append(copyButton(currentSnippet));
initPushForm(
  () => memberships.get(chosen) ?? null,
  (message) => stream.add(message),
);
element("stream-copy", HTMLElement).append(copyButton(exampleCommand, "Copy command"));
element("join-example", HTMLButtonElement).addEventListener("click", () => {
  chosen = EXAMPLE_CHANNEL;
  join(EXAMPLE_CHANNEL);
});

memberships.set(CLOCK, new Membership(CLOCK, name, "", { onChange: render }));
connection.open();
watchBus();
render();
