import { hexView } from "./hex-view.ts";
import { jsonView } from "./json-view.ts";
import { button, container, textElement } from "./page.ts";

/** A message to show: `base64` is there for a binary payload, otherwise `payload`. */
export interface ShownMessage {
  readonly event: string;
  readonly at: number;
  readonly payload?: unknown;
  readonly base64?: string;
}

/** Shows the whole payload of a message. */
export function showPayload({ event, at, payload, base64 }: ShownMessage): void {
  const dialog = document.createElement("dialog");
  const title = textElement("h2", event, "mono");
  title.id = "shown-message";
  dialog.setAttribute("aria-labelledby", title.id);
  const view = base64 === undefined ? jsonView(payload) : hexView(bytesOf(base64));
  const close = button("Close", () => dialog.close());
  dialog.append(
    title,
    textElement("p", new Date(at).toLocaleString(), "quiet"),
    container("div", "payload", view),
    container("p", "actions", close),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
