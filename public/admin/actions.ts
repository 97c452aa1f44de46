import { ask } from "../shared/dialog.ts";
import { duration } from "../shared/format.ts";
import { say } from "../shared/page.ts";
import { call } from "./api.ts";

/** What is done to others. Each asks once, and says what became of it in the page's notice. */

const notice = document.getElementById("notice");

export function tell(text: string, mood: "good" | "bad"): void {
  if (notice === null) return;
  notice.hidden = text === "";
  say(notice, text, mood);
}

function many(count: number, one: string): string {
  return count === 1 ? `1 ${one}` : `${count} ${one}s`;
}

export async function disconnect(id: string): Promise<void> {
  const sure = await ask(
    `End connection ${id}?`,
    "It leaves its channels at once. Most clients come back by themselves.",
    "End it",
  );
  if (!sure) return;
  const answer = await call("DELETE api/connections/{id}", { path: id });
  tell(answer.ok ? `Connection ${id} is ended.` : answer.why, answer.ok ? "good" : "bad");
}

/** @param ban as text (`10m`); empty for none */
export async function disconnectUser(user: string, ban: string): Promise<boolean> {
  const sure = await ask(
    ban === "" ? `End every connection of ${user}?` : `Ban ${user} for ${ban}?`,
    ban === ""
      ? "They leave their channels at once. Most clients come back by themselves."
      : "Every connection of theirs is ended, and their tokens are refused by this server until then.",
    ban === "" ? "End them" : "Ban",
  );
  if (!sure) return false;
  const answer = await call("POST api/disconnect", { body: { id: user, ...(ban === "" ? {} : { ban }) } });
  if (!answer.ok) {
    tell(answer.why, "bad");
    return false;
  }
  const { disconnected, banned_until } = answer.value;
  const until =
    banned_until === null
      ? ""
      : `, and tokens of ${user} are refused for ${duration(banned_until - Date.now())}`;
  tell(`${many(disconnected, "connection")} ended${until}.`, "good");
  return true;
}

export async function kick(
  channel: string,
  who: { readonly id: string } | { readonly agent: string },
): Promise<boolean> {
  const name = "id" in who ? who.id : who.agent;
  const sure = await ask(
    `Kick ${name} out of ${channel}?`,
    "The connection stays; phoenix.js does not join again by itself.",
    "Kick",
  );
  if (!sure) return false;
  const answer = await call("POST api/kick", { body: { channel, ...who } });
  if (answer.ok) tell(`${many(answer.value.kicked, "membership")} of ${channel} ended.`, "good");
  else tell(answer.why, "bad");
  return answer.ok;
}

export async function lift(user: string): Promise<void> {
  const answer = await call("DELETE api/bans/{id}", { path: user });
  tell(answer.ok ? `${user} may come back.` : answer.why, answer.ok ? "good" : "bad");
}
