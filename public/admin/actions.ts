import { confirmAction } from "../shared/dialog.ts";
import { duration } from "../shared/format.ts";
import { type StatusLevel, setStatus } from "../shared/page.ts";
import { type ConnectionRow, call, type MemberRow, type ServerResult } from "./api.ts";
import { connectionsOf, membershipsOf, plural } from "./user-connections.ts";

/** Administrator actions. Each asks for confirmation and shows its result in the page's notice. */

const notice = document.getElementById("notice");

/** Channels named in a question. */
const MAX_CHANNELS = 5;

export function showNotice(text: string, level: StatusLevel): void {
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

/** Good only if something was done, and every server answered. */
function levelOf(servers: readonly ServerResult[], count: number): StatusLevel {
  if (!servers.every(({ ok }) => ok)) return "bad";
  return count === 0 ? "waiting" : "good";
}

/** `in 7 channels: a, b, c, d, e and 2 more`. */
function channelsOf({ channels, channel_count }: ConnectionRow): string {
  if (channel_count === 0) return "in no channel";
  const shown = channels.slice(0, MAX_CHANNELS);
  const more = channel_count - shown.length;
  return `in ${plural(channel_count, "channel")}: ${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

export async function disconnect(connection: ConnectionRow): Promise<void> {
  const { id, users, address, protocol } = connection;
  const name = users.length === 0 ? `connection ${id}` : `a connection of ${users.join(", ")}`;
  const confirmed = await confirmAction(
    `Close ${name}?`,
    [
      `Connection ${id} (${protocol}, ${address}), ${channelsOf(connection)}.`,
      "It leaves them at once. Other connections of the user stay. Most clients reconnect automatically.",
    ],
    "Close",
  );
  if (!confirmed) return;
  const answer = await call("DELETE api/connections/{id}", { path: id });
  if (!answer.ok) return showNotice(answer.error, "bad");
  const { disconnected, servers } = answer.value;
  const server = servers.map(({ name }) => name).join(", ");
  const of = users.length === 0 ? "" : ` of ${users.join(", ")}`;
  if (disconnected === 0) showNotice(`Connection ${id}${of} not closed: ${server} did not answer.`, "bad");
  else showNotice(`Connection ${id}${of} closed by ${server}.`, "good");
}

/** @param ban duration (`10m`); empty: no ban */
export async function disconnectUser(user: string, ban: string): Promise<boolean> {
  const confirmed = await confirmAction(
    ban === "" ? `Disconnect ${user}?` : `Ban ${user} for ${ban}?`,
    ban === ""
      ? [connectionNote(user), "They leave their channels at once. Most clients reconnect automatically."]
      : [
          connectionNote(user),
          "All are closed, and all servers reject tokens of this user until the ban ends.",
        ],
    ban === "" ? "Disconnect" : "Ban",
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
  const closed =
    disconnected === 0
      ? `Nobody was disconnected${servers.every(({ ok }) => ok) ? `: ${user} has no open connection` : ""}`
      : `${plural(disconnected, "connection")} of ${user} closed`;
  showNotice(`${closed}${byServer(servers)}${until}.`, levelOf(servers, disconnected));
  return true;
}

/** @param target a user in the channel, or one of its members */
export async function kick(channel: string, target: string | MemberRow): Promise<boolean> {
  const user = typeof target === "string" ? target : target.user;
  const confirmed = await confirmAction(
    `Kick ${user} from ${channel}?`,
    [
      typeof target === "string" ? membershipNote(user, channel) : memberNote(target),
      "The connection stays open. phoenix.js does not rejoin automatically.",
    ],
    "Kick",
  );
  if (!confirmed) return false;
  const body = { channel, ...(typeof target === "string" ? { id: target } : { agent: target.agent }) };
  const answer = await call("POST api/kick", { body });
  if (answer.ok) {
    const { kicked, servers } = answer.value;
    const ended =
      kicked === 0
        ? `Nobody was kicked: ${user} is not in ${channel}`
        : `${plural(kicked, "membership")} of ${user} in ${channel} ended`;
    showNotice(`${ended}${byServer(servers)}.`, levelOf(servers, kicked));
  } else showNotice(answer.error, "bad");
  return answer.ok;
}

async function connectionNote(user: string): Promise<string> {
  const open = await connectionsOf(user);
  return `${open === "" ? "All connections" : capital(open)} of ${user}, on all servers.`;
}

async function membershipNote(user: string, channel: string): Promise<string> {
  const found = await membershipsOf(user, channel);
  return `${found === "" ? "All memberships" : capital(found)} of ${user} in ${channel}, on all servers.`;
}

function memberNote({ connection, address, server }: MemberRow): string {
  return `The membership of connection ${connection} (${address}, on ${server}) only.`;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

export async function liftBan(user: string): Promise<void> {
  const answer = await call("DELETE api/bans/{id}", { path: user });
  if (!answer.ok) return showNotice(answer.error, "bad");
  const { servers } = answer.value;
  const missing = servers.filter(({ ok }) => !ok).map(({ name }) => name);
  const note = missing.length === 0 ? "" : ` (no answer: ${missing.join(", ")})`;
  showNotice(`Ban on ${user} lifted${note}.`, levelOf(servers, 1));
}
