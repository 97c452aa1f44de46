import type { StreamMessage } from "../shared/message-text.ts";
import { element, field, setStatus, textElement } from "../shared/page.ts";
import type { Membership } from "./membership.ts";
import { parsePayload } from "./payload.ts";

const form = element("push", HTMLFormElement);
const event = element("event", HTMLInputElement);
const payload = element("payload", HTMLTextAreaElement);
const send = element("send", HTMLButtonElement);
const reply = element("reply", HTMLParagraphElement);

/** Pushes to the current channel when the form is submitted, and shows the reply. `onPush` gets each push. */
export function initPushForm(
  current: () => Membership | null,
  onPush: (message: StreamMessage) => void,
): void {
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    const channel = current()?.channel;
    if (channel === null || channel === undefined) return setStatus(reply, "Join the channel first.", "bad");
    const parsed = parsePayload(payload.value);
    if (parsed.type === "invalid") return setStatus(reply, `The payload is not JSON: ${parsed.error}`, "bad");
    const startedAt = performance.now();
    const elapsed = () => `${(performance.now() - startedAt).toFixed(1)} ms`;
    setStatus(reply, "Waiting for a reply", "waiting");
    const message: StreamMessage = {
      at: Date.now(),
      channel: channel.topic,
      event: event.value,
      direction: "from",
      by: "this page",
      payload: parsed.type === "bytes" ? { bytes: parsed.bytes } : { value: parsed.value },
      size: parsed.type === "bytes" ? parsed.bytes.length : null,
      truncated: false,
      note: element("recipients", HTMLParagraphElement).textContent ?? "",
    };
    onPush(message);
    channel
      .push(event.value, parsed.type === "bytes" ? parsed.bytes.buffer : parsed.value)
      .receive("ok", (answer) => showReply("ok", answer, elapsed(), "good"))
      .receive("error", (answer) => {
        message.note = `Refused: ${String(field(answer, "reason"))}.`;
        showReply("error", answer, elapsed(), "bad");
      })
      .receive("timeout", () => setStatus(reply, `No reply within ${elapsed()}`, "bad"));
  });
  payload.addEventListener("keydown", (key) => {
    if (key.key !== "Enter" || !(key.ctrlKey || key.metaKey) || send.disabled) return;
    key.preventDefault();
    form.requestSubmit();
  });
}

function showReply(status: string, answer: unknown, elapsed: string, level: "good" | "bad"): void {
  reply.dataset.state = level;
  const text = JSON.stringify(answer) ?? "";
  reply.replaceChildren(
    textElement("strong", status),
    text === "{}" ? "" : " ",
    text === "{}" ? "" : textElement("code", text),
    ` after ${elapsed}`,
  );
}
