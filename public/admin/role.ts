import { element, field, setText } from "../shared/page.ts";

/** Rights of whoever is signed in: the abilities of an API key, or all of them. */
export interface Role {
  /** As shown in the header. */
  readonly title: string;
  readonly can: readonly string[];
}

const ABILITIES = ["read", "publish", "moderate", "administrate"];

const ADMINISTRATOR: Role = { title: "administrator", can: ABILITIES };

/** Reads the answer of `admin/session`; `null` if nobody is signed in. */
export function roleOf(session: unknown): Role | null {
  if (field(session, "signed_in") !== true) return null;
  if (field(session, "role") !== "key") return ADMINISTRATOR;
  const given = field(session, "can");
  const can = ABILITIES.filter((ability) => Array.isArray(given) && given.includes(ability));
  const kind = can.includes("moderate") ? "moderator" : can.includes("publish") ? "publisher" : "reader";
  return { title: `${String(field(session, "name"))}, ${kind}`, can };
}

/** Asks the server who is signed in. `undefined` without a response. */
export async function fetchRole(): Promise<Role | null | undefined> {
  const response = await fetch("admin/session").catch(() => null);
  if (response === null) return undefined;
  return roleOf(await response.json().catch(() => null));
}

/**
 * Hides what the role does not permit: elements with `data-needs`. This is for clarity only: the server checks every call.
 * `act` is needed for the page of actions: any ability but `read`.
 */
export function applyRole({ title, can }: Role): void {
  const acts = can.some((ability) => ability !== "read");
  document.body.dataset.can = [...can, ...(acts ? ["act"] : [])].join(" ");
  setText(element("role", HTMLElement), title);
}

/** Whether the role that was applied has an ability. */
export function mayDo(ability: string): boolean {
  return (document.body.dataset.can ?? "").split(" ").includes(ability);
}
