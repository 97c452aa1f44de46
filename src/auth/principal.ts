import type { ApiKey } from "../config/config.ts";
import type { AdminSession } from "./admin-session.ts";

/** The authenticated sender of a request: the administrator or the holder of an API key; by secret or session. */
export type Principal =
  | { readonly kind: "administrator"; readonly session?: AdminSession }
  | { readonly kind: "key"; readonly key: ApiKey; readonly session?: AdminSession };

/** The name of a principal in the audit log; contains no secret. */
export function principalName(principal: Principal): string {
  if (principal.kind === "key") return `key:${principal.key.name}`;
  return principal.session === undefined ? "secret" : `session:${principal.session.id.slice(0, 8)}`;
}
