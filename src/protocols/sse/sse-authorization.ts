import type { Claims } from "../../auth/claims-types.ts";
import type { TokenCode } from "../../auth/token-codes.ts";
import { type AuthorizeRule, type Authorizer, type Decision, MAX_WAIT } from "../../hooks/authorizer.ts";
import { randomId } from "../../hub/random-id.ts";
import type { PlainRequest } from "../protocol.ts";

/** Requests to the application at once for one stream. */
const MAX_AT_ONCE = 4;

/** Why the application does not open a channel. */
export interface NotGranted {
  readonly channel: string;
  readonly decision: Exclude<Decision, { kind: "allowed" }> | { readonly kind: "no join" | "two users" };
}

/** As `NotGranted`, of a user that is banned, or a token that is revoked. */
export interface Rejected {
  readonly channel: string;
  readonly code: TokenCode;
}

/**
 * Asks the application about the channels of one stream. All must be allowed, to one user. Never rejects.
 * @param bearer claims of a token that covers the other channels, or none
 */
export async function askAboutChannels(
  authorizer: Authorizer,
  rules: ReadonlyMap<string, AuthorizeRule>,
  bearer: Claims | null,
  { request, peer }: PlainRequest,
): Promise<Claims | NotGranted | Rejected> {
  const until = performance.now() + MAX_WAIT;
  const headers = authorizer.headersOf(request.headers, peer.https);
  const waiting = [...rules];
  const refused: NotGranted[] = [];
  // The user of a token that anyone can get must not contradict the one that the application names.
  const known = bearer?.ownChannel ? bearer.user : null;
  let user = known;
  let expiresAt = bearer?.expiresAt ?? Number.MAX_SAFE_INTEGER;

  const ask = async ([channel, rule]: readonly [string, AuthorizeRule]): Promise<NotGranted | null> => {
    const decision = await authorizer.ask({
      ...{ rule, channel, headers, params: "{}", address: peer.address },
      user: known,
      startBy: until - rule.timeout,
      signal: request.signal,
    });
    if (decision.kind !== "allowed") return { channel, decision };
    const { permission } = decision;
    if (!permission.can.join) return { channel, decision: { kind: "no join" } };
    user ??= permission.user;
    if (permission.user !== null && permission.user !== user)
      return { channel, decision: { kind: "two users" } };
    if (permission.expiresIn !== null) expiresAt = Math.min(expiresAt, Date.now() + permission.expiresIn);
    return null;
  };
  const askNext = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined && refused.length === 0; next = waiting.shift()) {
      const failed = await ask(next);
      if (failed !== null) refused.push(failed);
    }
  };

  await Promise.all(Array.from({ length: MAX_AT_ONCE }, askNext));
  const [first] = refused;
  if (first !== undefined) return first;
  const claims: Claims = {
    ...{
      user: user ?? bearer?.user ?? randomId(authorizer.idLength),
      channels: [...rules.keys()],
      expiresAt,
      admin: false,
    },
    can: { join: true, push: false, presence: false },
    ...(bearer?.jti === undefined ? {} : { jti: bearer.jti }),
  };
  const code = authorizer.rejectionOf(claims);
  return code === null ? claims : { channel: claims.channels[0] ?? "", code };
}
