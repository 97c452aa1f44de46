import { element, textElement } from "../shared/page.ts";
import type { Membership } from "./membership.ts";

const line = element("recipients", HTMLParagraphElement);

/** Shows which clients get a push of an event besides backends, and which events other members get. */
export function showRecipients(membership: Membership | null, event: string): void {
  const events = membership?.clientEvents ?? [];
  if (!membership?.joined) return line.replaceChildren();
  if (events.length === 0) return line.replaceChildren("Goes to backends only.");
  const list = events.flatMap((each, index) => [index === 0 ? "" : ", ", textElement("code", each)]);
  if (isCovered(event, events)) return line.replaceChildren("Goes to backends and the other members.");
  line.replaceChildren("Goes to backends only. Events for the other members: ", ...list);
}

/** Whether one of the names is the event, or begins it with a star at its end. */
function isCovered(event: string, names: readonly string[]): boolean {
  return names.some((name) => (name.endsWith("*") ? event.startsWith(name.slice(0, -1)) : event === name));
}
