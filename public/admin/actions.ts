import { confirmAction } from "../shared/dialog.ts";
import { duration } from "../shared/format.ts";
import { setStatus } from "../shared/page.ts";
import { call } from "./api.ts";

/** Administrator actions. Each asks for confirmation and shows its result in the page's notice. */

const notice = document.getElementById("notice");

export function showNotice(text: string, level: "good" | "bad"): void {
  if (notice === null) return;
  notice.hidden = text === "";
  setStatus(notice, text, level);
}

function plural(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

export async function disconnect(id: string): Promise<void> {
  const confirmed = await confirmAction(
    `Close connection ${id}?`,
    "It leaves its channels at once. Most clients reconnect automatically.",
    "Close",
  );
  if (!confirmed) return;
  const answer = await call("DELETE api/connections/{id}", { path: id });
  showNotice(answer.ok ? `Connection ${id} closed.` : answer.error, answer.ok ? "good" : "bad");
}

/** @param ban duration (`10m`); empty: no ban */
export async function disconnectUser(user: string, ban: string): Promise<boolean> {
  const confirmed = await confirmAction(
    ban === "" ? `Close all connections of ${user}?` : `Ban ${user} for ${ban}?`,
    ban === ""
      ? "They leave their channels at once. Most clients reconnect automatically."
      : "All connections are closed, and this server rejects the user's tokens until the ban ends.",
    ban === "" ? "Close" : "Ban",
  );
  if (!confirmed) return false;
  const answer = await call("POST api/disconnect", { body: { id: user, ...(ban === "" ? {} : { ban }) } });
  if (!answer.ok) {
    showNotice(answer.error, "bad");
    return false;
  }
  const { disconnected, banned_until } = answer.value;
  const until =
    banned_until === null
      ? ""
      : `, and tokens of ${user} are rejected for ${duration(banned_until - Date.now())}`;
  showNotice(`${plural(disconnected, "connection")} closed${until}.`, "good");
  return true;
}

export async function kick(
  channel: string,
  target: { readonly id: string } | { readonly agent: string },
): Promise<boolean> {
  const name = "id" in target ? target.id : target.agent;
  const confirmed = await confirmAction(
    `Kick ${name} from ${channel}?`,
    "The connection stays open. phoenix.js does not rejoin automatically.",
    "Kick",
  );
  if (!confirmed) return false;
  const answer = await call("POST api/kick", { body: { channel, ...target } });
  if (answer.ok) showNotice(`${plural(answer.value.kicked, "membership")} of ${channel} ended.`, "good");
  else showNotice(answer.error, "bad");
  return answer.ok;
}

export async function liftBan(user: string): Promise<void> {
  const answer = await call("DELETE api/bans/{id}", { path: user });
  showNotice(answer.ok ? `Ban on ${user} lifted.` : answer.error, answer.ok ? "good" : "bad");
}
