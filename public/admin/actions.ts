import { confirmAction } from "../shared/dialog.ts";
import { duration } from "../shared/format.ts";
import { setStatus } from "../shared/page.ts";
import { call, type ServerResult } from "./api.ts";

/** Administrator actions. Each asks for confirmation and shows its result in the page's notice. */

const notice = document.getElementById("notice");

export function showNotice(text: string, level: "good" | "bad"): void {
  if (notice === null) return;
  notice.hidden = text === "";
  setStatus(notice, text, level);
}

/** What each server did, if there are several: `eu-1: 2, eu-2: 1, eu-3: no answer`. */
function byServer(servers: readonly ServerResult[]): string {
  const [first] = servers;
  if (first === undefined || (servers.length === 1 && first.ok)) return "";
  const parts = servers.map(({ name, ok, disconnected, kicked }) =>
    ok ? `${name}: ${disconnected ?? kicked ?? "done"}` : `${name}: no answer`,
  );
  return ` (${parts.join(", ")})`;
}

function levelOf(servers: readonly ServerResult[]): "good" | "bad" {
  return servers.every(({ ok }) => ok) ? "good" : "bad";
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
  if (!answer.ok) return showNotice(answer.error, "bad");
  const { disconnected, servers } = answer.value;
  const server = servers.map(({ name }) => name).join(", ");
  if (disconnected === 0) showNotice(`Connection ${id} not closed: ${server} did not answer.`, "bad");
  else showNotice(`Connection ${id} closed by ${server}.`, "good");
}

/** @param ban duration (`10m`); empty: no ban */
export async function disconnectUser(user: string, ban: string): Promise<boolean> {
  const confirmed = await confirmAction(
    ban === "" ? `Close all connections of ${user}?` : `Ban ${user} for ${ban}?`,
    ban === ""
      ? "They leave their channels at once. Most clients reconnect automatically."
      : "All connections are closed, and all servers reject the user's tokens until the ban ends.",
    ban === "" ? "Close" : "Ban",
  );
  if (!confirmed) return false;
  const answer = await call("POST api/disconnect", { body: { id: user, ...(ban === "" ? {} : { ban }) } });
  if (!answer.ok) {
    showNotice(answer.error, "bad");
    return false;
  }
  const { disconnected, servers, banned_until } = answer.value;
  const until =
    banned_until === null
      ? ""
      : `, and tokens of ${user} are rejected for ${duration(banned_until - Date.now())}`;
  showNotice(`${plural(disconnected, "connection")} closed${byServer(servers)}${until}.`, levelOf(servers));
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
  if (answer.ok) {
    const { kicked, servers } = answer.value;
    const ended = `${plural(kicked, "membership")} of ${channel} ended${byServer(servers)}.`;
    showNotice(ended, levelOf(servers));
  } else showNotice(answer.error, "bad");
  return answer.ok;
}

export async function liftBan(user: string): Promise<void> {
  const answer = await call("DELETE api/bans/{id}", { path: user });
  if (!answer.ok) return showNotice(answer.error, "bad");
  const { servers } = answer.value;
  const missing = servers.filter(({ ok }) => !ok).map(({ name }) => name);
  const note = missing.length === 0 ? "" : ` (no answer: ${missing.join(", ")})`;
  showNotice(`Ban on ${user} lifted${note}.`, levelOf(servers));
}
