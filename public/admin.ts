import { Socket } from "phoenix";
import { element, field, line, say, sentenceOf, socketAddress } from "./page.ts";

/** Channels and agents shown; a page that holds tens of thousands of rows serves nobody. */
const MAX_CHANNELS = 500;
const MAX_AGENTS = 200;

const state = element("state", HTMLParagraphElement);
const door = element("door", HTMLElement);
const inside = element("inside", HTMLElement);
const signOut = element("sign-out", HTMLButtonElement);
const secret = element("secret", HTMLInputElement);
const refusal = element("refusal", HTMLParagraphElement);
const list = element("channels", HTMLUListElement);

/** The agents of each channel, as the server told last. */
const channels = new Map<string, readonly string[]>();

interface Row {
  readonly item: HTMLLIElement;
  readonly count: HTMLElement;
  readonly agents: HTMLUListElement;
  shown: readonly string[] | null;
}

const rows = new Map<string, Row>();
let drawing = false;
let socket: Socket | null = null;

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
}

function row(name: string): Row {
  const known = rows.get(name);
  if (known !== undefined) return known;
  const item = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const count = line("span", "", "count");
  const agents = document.createElement("ul");
  agents.className = "agents";
  summary.append(line("code", name), count);
  details.append(summary, agents);
  item.append(details);
  const made = { item, count, agents, shown: null };
  rows.set(name, made);
  return made;
}

/** Many events of one moment are one drawing. */
function draw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const names = [...channels.keys()].sort();
    const seen = names.slice(0, MAX_CHANNELS);
    for (const [name, { item }] of rows) {
      if (channels.has(name)) continue;
      item.remove();
      rows.delete(name);
    }
    for (const [at, name] of seen.entries()) {
      const drawn = row(name);
      if (list.children[at] !== drawn.item) list.insertBefore(drawn.item, list.children[at] ?? null);
      fill(drawn, channels.get(name) ?? []);
    }
    while (list.childElementCount > seen.length) list.lastElementChild?.remove();
    element("total", HTMLSpanElement).textContent = String(names.length);
    const hidden = names.length - seen.length;
    element("more", HTMLParagraphElement).textContent = hidden > 0 ? `and ${hidden} more` : "";
  });
}

function fill(drawn: Row, agents: readonly string[]): void {
  if (drawn.shown === agents) return;
  drawn.shown = agents;
  drawn.count.textContent = agents.length === 1 ? "1 agent" : `${agents.length} agents`;
  const items = agents.slice(0, MAX_AGENTS).map((agent) => line("li", agent));
  if (agents.length > items.length) items.push(line("li", `and ${agents.length - items.length} more`));
  drawn.agents.replaceChildren(...items);
}

function told(payload: unknown): void {
  const name = field(payload, "channel");
  if (typeof name !== "string") return;
  channels.set(name, texts(field(payload, "agents")));
  draw();
}

function added(payload: unknown): void {
  const name = field(payload, "channel");
  if (typeof name !== "string" || channels.has(name)) return;
  channels.set(name, []);
  draw();
}

function removed(payload: unknown): void {
  const name = field(payload, "channel");
  if (typeof name === "string") channels.delete(name);
  draw();
}

function show(signedIn: boolean): void {
  door.hidden = signedIn;
  inside.hidden = !signedIn;
  signOut.hidden = !signedIn;
  if (!signedIn) secret.focus();
}

function leave(): void {
  socket?.disconnect();
  socket = null;
  channels.clear();
  draw();
}

/** The cookie says who we are; whether it is good shows when `admin` is joined. */
function enter(): void {
  leave();
  const opened = new Socket(socketAddress());
  socket = opened;
  const channel = opened.channel("admin");
  opened.onClose(() => {
    if (socket === opened) say(state, "Not connected, trying again", "bad");
  });
  channel.on("channel.list", told);
  channel.on("channel.join", told);
  channel.on("channel.leave", told);
  channel.on("channel.add", added);
  channel.on("channel.remove", removed);
  channel
    .join()
    .receive("ok", () => {
      channels.clear();
      draw();
      show(true);
      say(state, "Signed in, live", "good");
    })
    .receive("error", () => {
      leave();
      show(false);
      say(state, "Not signed in", "waiting");
    });
  opened.connect();
}

element("sign-in", HTMLFormElement).addEventListener("submit", async (submit) => {
  submit.preventDefault();
  say(refusal, "", "waiting");
  try {
    const response = await fetch("admin/sign_in", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ secret: secret.value }),
    });
    if (!response.ok) {
      say(refusal, await sentenceOf(response), "bad");
      return;
    }
    secret.value = "";
    enter();
  } catch {
    say(refusal, "No answer from the server.", "bad");
  }
});

signOut.addEventListener("click", async () => {
  const response = await fetch("admin/sign_out", { method: "POST" }).catch(() => null);
  if (response === null || !response.ok) {
    say(state, response === null ? "No answer from the server" : await sentenceOf(response), "bad");
    return;
  }
  leave();
  show(false);
  say(state, "Signed out", "waiting");
});

enter();
