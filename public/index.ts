import { Presence, Socket } from "phoenix";
import { element, field, line, say, sentenceOf, socketAddress } from "./page.ts";

const CHANNEL = "system";

/** Messages on the page; older ones go. */
const MAX_MESSAGES = 200;
const MAX_TEXT = 4000;

/** Events that have a place of their own on the page, and the protocol's. */
const ELSEWHERE = /^(datetime|presence_state|presence_diff|chan_reply_.*|phx_.*)$/;

const state = element("state", HTMLParagraphElement);
const send = element("send", HTMLButtonElement);
const reply = element("reply", HTMLParagraphElement);
const messages = element("messages", HTMLOListElement);
const payload = element("payload", HTMLTextAreaElement);
const pushForm = element("push", HTMLFormElement);

const name = new URLSearchParams(location.search).get("name")?.trim() || "anonymous";
element("name", HTMLInputElement).value = name === "anonymous" ? "" : name;

let token = "";
let received = 0;

/** Asks for a token; says what went wrong, and gives whether it has one. */
async function renew(): Promise<boolean> {
  try {
    const response = await fetch("token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channel: CHANNEL, id: name }),
    });
    if (!response.ok) {
      say(state, await sentenceOf(response), "bad");
      return false;
    }
    const given = field(await response.json(), "token");
    token = typeof given === "string" ? given : "";
    return token !== "";
  } catch {
    say(state, "No answer from the server, trying again", "bad");
    return false;
  }
}

function showClock(answer: unknown): void {
  const response = field(answer, "response");
  const text = field(response, "datetime");
  const date = typeof text === "string" ? new Date(text) : null;
  if (date === null || Number.isNaN(date.getTime())) return;
  const time = element("time", HTMLTimeElement);
  time.textContent = date.toLocaleTimeString();
  time.dateTime = date.toISOString();
  element("date", HTMLParagraphElement).textContent = date.toLocaleDateString(undefined, {
    dateStyle: "medium",
  });
  element("counter", HTMLOutputElement).value = String(field(response, "counter"));
}

function showUsers(presence: Presence): void {
  const users = presence.list((user, { metas }) => {
    const item = line("li", metas.length > 1 ? `${user} ×${metas.length}` : user);
    item.title = user;
    if (user === name) item.dataset.me = "";
    return item;
  });
  element("present", HTMLSpanElement).textContent = String(users.length);
  element("users", HTMLUListElement).replaceChildren(...users);
}

/** The beginning of a binary payload: as text where it is some, else its bytes. */
function startOf(value: ArrayBuffer): string {
  const start = new Uint8Array(value, 0, Math.min(value.byteLength, 64));
  const more = value.byteLength > 64 ? " ..." : "";
  // A character cut in two at the end is waited for, not an error.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    const text = decoder.decode(start, { stream: true });
    if (!/[\u0000-\u0008\u000e-\u001f\u007f-\u009f]/.test(text)) return text + more;
  } catch {
    // Not text.
  }
  return [...start].map((byte) => byte.toString(16).padStart(2, "0")).join(" ") + more;
}

function asText(value: unknown): string {
  if (value instanceof ArrayBuffer) return `${value.byteLength} bytes: ${startOf(value)}`;
  const text = JSON.stringify(value) ?? "";
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)} ... (${text.length} characters)` : text;
}

function showMessage(event: string, value: unknown): void {
  const now = new Date();
  const item = document.createElement("li");
  item.append(
    line("time", now.toLocaleTimeString()),
    line("span", event, "event"),
    line("span", asText(value), "text"),
  );
  messages.prepend(item);
  while (messages.childElementCount > MAX_MESSAGES) messages.lastElementChild?.remove();
  received++;
  element("received", HTMLSpanElement).textContent = String(received);
}

function start(): void {
  const socket = new Socket(socketAddress());
  const channel = socket.channel(CHANNEL, () => ({ token }));
  const presence = new Presence(channel);

  socket.onOpen(() => say(state, "Connected, joining", "waiting"));
  socket.onClose(() => {
    say(state, "Not connected, trying again", "bad");
    send.disabled = true;
  });
  socket.onMessage(({ topic, event, payload: value }) => {
    if (topic === CHANNEL && !ELSEWHERE.test(event)) showMessage(event, value);
  });
  channel.on("datetime", showClock);
  presence.onSync(() => showUsers(presence));
  channel.onError(() => {
    send.disabled = true;
  });
  channel
    .join()
    .receive("ok", () => {
      say(state, `Joined as ${name}`, "good");
      send.disabled = false;
    })
    .receive("error", (answer) => {
      say(state, `Not let in: ${String(field(answer, "reason"))}`, "bad");
      // phoenix.js joins again by itself, then with the new token.
      void renew();
    })
    .receive("timeout", () => say(state, "No answer to the join, trying again", "bad"));
  socket.connect();

  pushForm.addEventListener("submit", (submit) => {
    submit.preventDefault();
    const event = element("event", HTMLInputElement).value;
    let value: unknown;
    try {
      value = payload.value.trim() === "" ? {} : JSON.parse(payload.value);
    } catch (error) {
      say(reply, `The payload is not JSON: ${error instanceof Error ? error.message : ""}`, "bad");
      return;
    }
    const begun = performance.now();
    const took = () => `${(performance.now() - begun).toFixed(1)} ms`;
    say(reply, "Waiting for the reply", "waiting");
    channel
      .push(event, value)
      .receive("ok", (answer) => say(reply, `ok ${asText(answer)} after ${took()}`, "good"))
      .receive("error", (answer) => say(reply, `error ${asText(answer)} after ${took()}`, "bad"))
      .receive("timeout", () => say(reply, `no reply within ${took()}`, "bad"));
  });
}

payload.addEventListener("keydown", (key) => {
  if (key.key !== "Enter" || !(key.ctrlKey || key.metaKey) || send.disabled) return;
  key.preventDefault();
  pushForm.requestSubmit();
});
element("clear", HTMLButtonElement).addEventListener("click", () => {
  messages.replaceChildren();
  received = 0;
  element("received", HTMLSpanElement).textContent = "";
});

/** Until there is a token there is nothing to connect with. */
async function begin(): Promise<void> {
  say(state, "Asking for a token", "waiting");
  if (await renew()) start();
  else setTimeout(begin, 3000);
}

void begin();
