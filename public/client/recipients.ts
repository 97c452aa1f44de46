import { element, textElement } from "../shared/page.ts";
import type { Membership } from "./membership.ts";

const line = element("recipients", HTMLParagraphElement);

/** Shows who gets a push of an event, or why none is possible. */
export function showRecipients(membership: Membership | null, event: string, disconnected: boolean): void {
  const events = membership?.clientEvents ?? [];
  if (disconnected) return line.replaceChildren("Reconnect to push.");
  if (membership?.channel && !membership.joined)
    return line.replaceChildren("A push is possible once the channel is joined.");
  if (!membership?.joined) return line.replaceChildren("Join the channel to push.");
  if (events.length === 0)
    return line.replaceChildren("Goes to backends, not to browsers: those get what a backend publishes.");
  const list = events.flatMap((each, index) => [index === 0 ? "" : ", ", textElement("code", each)]);
  if (isCovered(event, events)) return line.replaceChildren("Goes to backends and the other members.");
  line.replaceChildren("Goes to backends, not to browsers. Events for the other members: ", ...list);
}

/** Whether one of the names is the event, or begins it with a star at its end. */
function isCovered(event: string, names: readonly string[]): boolean {
  return names.some((name) => (name.endsWith("*") ? event.startsWith(name.slice(0, -1)) : event === name));
}
