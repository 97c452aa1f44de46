import { element, line, say } from "../shared/page.ts";
import type { Membership } from "./membership.ts";

/** Texts of bytes: `hex: ff 00 01`. */
const HEX = /^\s*hex:\s*((?:[0-9a-f]{2}\s*)+)$/i;

const form = element("push", HTMLFormElement);
const event = element("event", HTMLInputElement);
const payload = element("payload", HTMLTextAreaElement);
const send = element("send", HTMLButtonElement);
const reply = element("reply", HTMLParagraphElement);

type Parsed = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

function parse(text: string): Parsed {
  if (text.trim() === "") return { ok: true, value: {} };
  const hex = HEX.exec(text)?.[1];
  if (hex !== undefined) {
    const bytes = hex.replace(/\s/g, "").match(/../g) ?? [];
    return { ok: true, value: Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)).buffer };
  }
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : "" };
  }
}

/** Lets the visitor push to the channel that `current` names, and shows what became of it. */
export function startPushing(current: () => Membership | null): void {
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    const channel = current()?.channel;
    if (channel === null || channel === undefined) return say(reply, "Join the channel first.", "bad");
    const parsed = parse(payload.value);
    if (!parsed.ok) return say(reply, `The payload is not JSON: ${parsed.why}`, "bad");
    const begun = performance.now();
    const took = () => `${(performance.now() - begun).toFixed(1)} ms`;
    say(reply, "Waiting for the reply", "waiting");
    channel
      .push(event.value, parsed.value)
      .receive("ok", (answer) => answered("ok", answer, took(), "good"))
      .receive("error", (answer) => answered("error", answer, took(), "bad"))
      .receive("timeout", () => say(reply, `No reply within ${took()}`, "bad"));
  });
  payload.addEventListener("keydown", (key) => {
    if (key.key !== "Enter" || !(key.ctrlKey || key.metaKey) || send.disabled) return;
    key.preventDefault();
    form.requestSubmit();
  });
}

function answered(status: string, answer: unknown, took: string, mood: "good" | "bad"): void {
  reply.dataset.state = mood;
  const text = JSON.stringify(answer) ?? "";
  reply.replaceChildren(
    line("strong", status),
    text === "{}" ? "" : " ",
    text === "{}" ? "" : line("code", text),
    ` after ${took}`,
  );
}
