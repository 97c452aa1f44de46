import { Connection } from "./client/connection.ts";
import { Membership } from "./client/membership.ts";
import { startPushing } from "./client/push-form.ts";
import { LANGUAGES, type Language, snippet } from "./client/snippets.ts";
import { copyButton } from "./shared/copy.ts";
import { MessageStream } from "./shared/message-stream.ts";
import { box, button, element, field, line, oncePerFrame, put, say } from "./shared/page.ts";

const CLOCK = "system";

/** Events that have a place of their own on the page, and the protocol's. */
const ELSEWHERE = /^(datetime|presence_state|presence_diff|chan_reply_.*|phx_.*)$/;

/** Users that are shown. */
const MAX_USERS = 200;

const name = new URLSearchParams(location.search).get("name")?.trim() || "anonymous";
element("name", HTMLInputElement).value = name === "anonymous" ? "" : name;

const list = element("joined", HTMLUListElement);
const joinForm = element("join", HTMLFormElement);
const joinName = element("join-name", HTMLInputElement);
const joinToken = element("join-token", HTMLInputElement);
const target = element("target", HTMLSelectElement);
const send = element("send", HTMLButtonElement);
const stream = new MessageStream("stream");
const memberships = new Map<string, Membership>();
let chosen = CLOCK;
let language: Language = "curl";

const draw = oncePerFrame(() => {
  drawChannels();
  drawUsers();
  drawTarget();
  drawSnippet();
});

const connection = new Connection(name, {
  renewed(socket) {
    for (const membership of memberships.values()) void membership.enter(socket);
    joinOn = (membership) => void membership.enter(socket);
  },
  heard({ topic, event, payload }) {
    if (topic === CLOCK && event === "datetime") return showClock(payload);
    if (!memberships.has(topic) || ELSEWHERE.test(event)) return;
    const bytes = payload instanceof ArrayBuffer ? new Uint8Array(payload) : null;
    stream.add({
      at: Date.now(),
      channel: topic,
      event,
      direction: "to",
      by: "",
      payload: bytes === null ? { value: payload } : { bytes },
      size: bytes?.length ?? null,
      cut: false,
    });
  },
});
let joinOn: (membership: Membership) => void = () => {};

function join(channel: string, token = ""): void {
  memberships.get(channel)?.leave();
  const membership = new Membership(channel, name, token, { changed: draw });
  memberships.set(channel, membership);
  joinOn(membership);
  draw();
}

/** Rows stay where they are while their texts change: whoever tabs through them is not thrown out. */
const rows = new Map<string, { readonly item: HTMLElement; update(): void }>();

function rowOf(membership: Membership): { readonly item: HTMLElement; update(): void } {
  const { name: channel } = membership;
  const choose = button(channel, () => pick(channel), "name");
  const state = line("span", "", "state");
  const away = () => memberships.get(channel)?.channel === null;
  const toggle = button("Leave", () => {
    const now = memberships.get(channel);
    if (now === undefined) return;
    if (away()) joinOn(now);
    else now.leave();
  });
  const forget = button("×", () => {
    memberships.get(channel)?.leave();
    memberships.delete(channel);
    if (chosen === channel) chosen = memberships.keys().next().value ?? "";
    draw();
  });
  forget.setAttribute("aria-label", `Forget ${channel}`);
  const item = box("li", "", choose, box("span", "actions", toggle, forget), state);
  return {
    item,
    update() {
      const now = memberships.get(channel);
      if (now === undefined) return;
      choose.setAttribute("aria-pressed", String(channel === chosen));
      if (state.textContent !== now.state.text || state.dataset.state !== now.state.mood) {
        say(state, now.state.text, now.state.mood);
      }
      put(toggle, away() ? "Rejoin" : "Leave");
      toggle.setAttribute("aria-label", `${away() ? "Rejoin" : "Leave"} ${channel}`);
      item.title = now.agent === "" ? channel : `agent ${now.agent}`;
    },
  };
}

function drawChannels(): void {
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
}

function pick(channel: string): void {
  chosen = channel;
  draw();
}

function drawUsers(): void {
  const users = memberships.get(chosen)?.users ?? [];
  put(element("present-in", HTMLElement), chosen);
  put(element("present", HTMLSpanElement), String(users.length));
  const items = users.slice(0, MAX_USERS).map(({ user, count }) => {
    const item = line("li", count > 1 ? `${user} ×${count}` : user);
    item.title = user;
    if (user === name) item.dataset.me = "";
    return item;
  });
  if (users.length > MAX_USERS) items.push(line("li", `and ${users.length - MAX_USERS} more`));
  element("users", HTMLUListElement).replaceChildren(...items);
}

function drawTarget(): void {
  const names = [...memberships.keys()];
  const shown = [...target.options].map(({ value }) => value);
  if (names.join("\0") !== shown.join("\0")) {
    target.replaceChildren(...names.map((each) => new Option(each, each)));
  }
  target.value = chosen;
  send.disabled = !(memberships.get(chosen)?.joined ?? false);
}

const code = element("snippet", HTMLPreElement);
// It scrolls: whoever has no mouse must get there too.
code.tabIndex = 0;
code.setAttribute("role", "region");
code.setAttribute("aria-label", "Example");

function snippetNow(): string {
  const payload = element("payload", HTMLTextAreaElement).value.trim() || "{}";
  const event = element("event", HTMLInputElement).value || "event";
  return snippet(language, { channel: chosen, user: name, event, payload });
}

function drawSnippet(): void {
  put(code, snippetNow());
}

function showClock(answer: unknown): void {
  const response = field(answer, "response");
  const text = field(response, "datetime");
  const date = typeof text === "string" ? new Date(text) : null;
  if (date === null || Number.isNaN(date.getTime())) return;
  const time = element("time", HTMLTimeElement);
  time.textContent = date.toLocaleTimeString();
  time.dateTime = date.toISOString();
  put(element("date", HTMLElement), date.toLocaleDateString(undefined, { dateStyle: "medium" }));
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
target.addEventListener("change", () => pick(target.value));
for (const id of ["event", "payload"]) document.getElementById(id)?.addEventListener("input", draw);

const languages = element("languages", HTMLElement);
for (const each of LANGUAGES) {
  const choice = button(each, () => {
    language = each;
    for (const other of languages.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other.textContent === each));
    }
    draw();
  });
  choice.setAttribute("aria-pressed", String(each === language));
  languages.append(choice);
}
element("snippet-copy", HTMLElement).append(copyButton(snippetNow));
startPushing(() => memberships.get(chosen) ?? null);

memberships.set(CLOCK, new Membership(CLOCK, name, "", { changed: draw }));
connection.open();
draw();
