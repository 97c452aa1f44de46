import { type Admin, bearerOf } from "../auth/admin.ts";
import type { Audit } from "../auth/audit.ts";
import { abilitiesIn, intersection, isPattern, isUserChannel, leastAbilities } from "../auth/claims.ts";
import { LEEWAY_SECS, MAX_TOKEN_BYTES } from "../auth/hs256.ts";
import type { Grant, Mint } from "../auth/mint.ts";
import type { Peer } from "../auth/peer.ts";
import { type Principal, principalName } from "../auth/principal.ts";
import { asksApplication, entryCovers } from "../auth/public-channels.ts";
import { Rejection } from "../auth/rejection.ts";
import { isForeign } from "../auth/same-origin.ts";
import { type Abilities, type Claims, covers, type Verify } from "../auth/verifier.ts";
import type { Config } from "../config/config.ts";
import type { InboundBudget } from "../hub/inbound-budget.ts";
import { isDeeper } from "../hub/json/depth.ts";
import { readJson } from "./body.ts";
import { json, reject } from "./json-response.ts";
import { granted, parseTokenRequest, type TokenRequest } from "./token-request.ts";

export interface TokenDeps {
  readonly config: Config;
  readonly admin: Admin;
  readonly mint: Mint;
  readonly verify: Verify;
  readonly inbound: InboundBudget;
  readonly audit: Audit;
}

const TOO_LONG = new Rejection(422, "token_too_long", "Too many channels for one token.");

/** Creates the handler of `POST /token`. */
export function createTokenHandler(deps: TokenDeps): (request: Request, peer: Peer) => Promise<Response> {
  const { config, mint, inbound } = deps;
  return async (request, peer) => {
    const body = await readJson(request, config.limits.maxBody, inbound, parseShallow);
    if (!body.ok) return reject(body);
    const wanted = parseTokenRequest(body.value, config.idLength);
    if (wanted instanceof Rejection) return reject(wanted);
    const authorization = await authorize(wanted, request, peer, deps);
    if (authorization instanceof Rejection) return reject(authorization);
    const { id } = wanted;
    const { channels, ...limits } = grantOf(wanted, authorization.bearer);
    const token = await mint({ id, channels, ...limits });
    if (token.length > MAX_TOKEN_BYTES) return reject(TOO_LONG);
    if (authorization.principal !== null) {
      const what = { id, channels: [...wanted.rights.keys()].join(" ") };
      deps.audit({
        act: "mint",
        who: principalName(authorization.principal),
        from: peer.address,
        what,
        result: "ok",
      });
    }
    return json({ id, ...channels, ...(limits.can === undefined ? {} : { can: limits.can }), token });
  };
}

/** Maximum nesting of a body from unauthenticated clients. A valid one has three levels. */
const MAX_DEPTH = 64;

function parseShallow(text: string): unknown {
  if (isDeeper(text, MAX_DEPTH)) throw new SyntaxError("nested too deeply");
  return JSON.parse(text);
}

/** The requested grant, limited to the abilities and lifetime of the earlier token that authorized it. */
function grantOf({ rights, form }: TokenRequest, bearer: Claims | null): Omit<Grant, "id" | "expiresInSecs"> {
  if (bearer === null) return granted(rights, form);
  const elsewhere = leastAbilities(bearer);
  const limited = new Map<string, Abilities>();
  for (const [name, can] of rights) {
    limited.set(name, intersection(can, abilitiesIn(bearer, name) ?? elsewhere));
  }
  const notAfter = Math.floor(bearer.expiresAt / 1000) - LEEWAY_SECS;
  // With the same `jti`, revoking the earlier token revokes this one too.
  return {
    ...granted(limited, form, bearer.can),
    notAfter,
    ...(bearer.jti === undefined ? {} : { jti: bearer.jti }),
  };
}

/** What authorized a request: an earlier token (which limits the new one), the administrator, or neither (public). */
interface Authorization {
  readonly bearer: Claims | null;
  readonly principal: Principal | null;
}

const PUBLIC: Authorization = { bearer: null, principal: null };

/** Authorizes a request: public, by an earlier token, or as the administrator. */
async function authorize(
  wanted: TokenRequest,
  request: Request,
  peer: Peer,
  { config, admin, verify }: TokenDeps,
): Promise<Authorization | Rejection> {
  const names = [...wanted.rights.keys()];
  if (names.includes("phoenix")) {
    return new Rejection(
      403,
      "token_for_phoenix",
      "The topic phoenix needs no token: it accepts heartbeats only.",
    );
  }
  const special = names.every((name) => name === "admin" || isPattern(name));
  if (config.tokenEndpoint === "off" && !special) {
    return new Rejection(
      403,
      "token_endpoint_off",
      "This server issues no tokens for channels (token_endpoint).",
    );
  }
  const needsAdmin = names.some((name) => name === "admin" || isPattern(name));
  if (needsAdmin || config.tokenEndpoint === "admin") {
    const check = admin.requireAdmin(request, peer);
    return check.ok ? { bearer: null, principal: check.principal } : check;
  }

  const foreign = names.filter(
    (name) =>
      isUserChannel(name) ||
      asksApplication(config, name) ||
      !config.tokenChannels.some((entry) => entryCovers(entry, wanted.id, name)),
  );
  if (foreign.length === 0 && (config.tokenIds === "any" || !wanted.chosen)) return PUBLIC;
  const bearer = bearerOf(request.headers);
  const source = {
    address: peer.address,
    foreign: isForeign(request.headers, config.publicUrl, peer.https),
  };
  const verdict = bearer === null ? null : await verify(bearer, source);
  if (verdict?.ok && verdict.claims.user === wanted.id) {
    const { claims } = verdict;
    if (foreign.every((name) => covers(claims, name))) return { bearer: claims, principal: null };
  }
  const rejection =
    foreign.length === 0
      ? new Rejection(
          403,
          "token_id_not_proven",
          "A chosen id requires an earlier token for that id as Bearer (token_ids).",
        )
      : new Rejection(
          403,
          "token_channel_not_given",
          "Tokens for this channel are not public (token_channels).",
        );
  // The administrator may have any token. A user's token does not count as an attempt at the secret.
  if (bearer !== null ? looksLikeToken(bearer) : !request.headers.has("cookie")) return rejection;
  const check = admin.requireAdmin(request, peer);
  if (check.ok) return { bearer: null, principal: check.principal };
  return bearer === null && check.status === 401 ? rejection : check;
}

function looksLikeToken(bearer: string): boolean {
  return bearer.startsWith("eyJ") && bearer.split(".").length === 3;
}
