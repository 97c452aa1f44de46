import { type Admin, bearerOf } from "../auth/admin.ts";
import { isPattern, isUserId, MAX_USER_BYTES, nameCovers } from "../auth/claims.ts";
import { isJsonObject, MAX_TOKEN_BYTES, ownValue } from "../auth/hs256.ts";
import type { Grant, Mint } from "../auth/mint.ts";
import type { Verify } from "../auth/token.ts";
import { isChannelName } from "../bus/bus.ts";
import type { Config } from "../config.ts";
import { randomId } from "../hub/id.ts";
import { json, refuse } from "./answer.ts";
import { readJson } from "./body.ts";
import type { Client } from "./client.ts";

export interface TokenDeps {
  readonly config: Config;
  readonly admin: Admin;
  readonly mint: Mint;
  readonly verify: Verify;
}

interface Refused {
  readonly status: number;
  readonly sentence: string;
  readonly retryAfterSecs?: number;
}

interface Asked {
  readonly id: string;
  /** Whether the caller chose the id. */
  readonly chosen: boolean;
  readonly names: readonly string[];
  readonly channels: Grant["channels"];
}

/** `POST /token`: a token for those who may have it (http.md, Tokens). */
export function createTokenHandler(deps: TokenDeps): (request: Request, client: Client) => Promise<Response> {
  const { config, mint } = deps;
  return async (request, client) => {
    const body = await readJson(request, config.limits.maxBody);
    if (!body.ok) return refuse(body.refusal);
    const asked = readAsked(body.value, config.idLength);
    if ("status" in asked) return refuse(asked);
    const refusal = await refusalOf(asked, request, client, deps);
    if (refusal !== null) return refuse(refusal);
    const { id, channels } = asked;
    const token = await mint({ id, channels });
    if (token.length > MAX_TOKEN_BYTES) return refuse(unusable("These are too many channels for one token."));
    return json({ id, ...channels, token });
  };
}

function unusable(sentence: string): Refused {
  return { status: 422, sentence };
}

function readAsked(value: unknown, idLength: number): Asked | Refused {
  if (!isJsonObject(value)) return unusable('Send an object such as {"channel": "system", "id": "client1"}.');
  const channel = ownValue(value, "channel") ?? undefined;
  const list = ownValue(value, "channels") ?? undefined;
  if (channel !== undefined && list !== undefined) return unusable("Name channel or channels, not both.");
  if (channel === undefined && list === undefined) return unusable("Name the channel that the token is for.");
  if (list !== undefined && !(Array.isArray(list) && list.length > 0)) {
    return unusable("channels must be a list with at least one name.");
  }
  const names: string[] = [];
  for (const name of Array.isArray(list) ? list : [channel]) {
    if (typeof name !== "string" || !isChannelName(name)) {
      return unusable("The name of a channel is a text of 1 to 255 bytes without control characters.");
    }
    names.push(name);
  }
  const channels = typeof channel === "string" ? { channel } : { channels: names };

  const id = ownValue(value, "id") ?? "";
  if (typeof id !== "string" || !isUserId(id)) {
    return unusable(`id must be a well-formed text of at most ${MAX_USER_BYTES} bytes.`);
  }
  const chosen = id.trim() !== "";
  return { id: chosen ? id : randomId(idLength), chosen, names, channels };
}

/** The table of http.md: what anyone may have, what needs the administrator, what nobody gets. */
async function refusalOf(
  asked: Asked,
  request: Request,
  client: Client,
  { config, admin, verify }: TokenDeps,
): Promise<Refused | null> {
  const { names } = asked;
  if (names.includes("phoenix")) {
    return {
      status: 403,
      sentence: "There are no tokens for phoenix: it takes heartbeats only, and needs none.",
    };
  }
  const special = names.every((name) => name === "admin" || isPattern(name));
  if (config.tokenEndpoint === "off" && !special) {
    return { status: 403, sentence: "Tokens for channels are not given here (token_endpoint)." };
  }
  const needsAdmin = names.some((name) => name === "admin" || isPattern(name));
  if (needsAdmin || config.tokenEndpoint === "admin") {
    const check = admin.check(request, client);
    return check.ok ? null : check;
  }

  const bearer = bearerOf(request.headers);
  const foreign = names.find(
    (name) => !config.tokenChannels.some((entry) => entryCovers(entry, asked.id, name)),
  );
  if (foreign === undefined && (config.tokenIds === "any" || !asked.chosen)) return null;
  if (foreign === undefined && bearer !== null) {
    const verdict = await verify(bearer);
    if (verdict.ok && verdict.claims.user === asked.id) return null;
  }
  const refused: Refused =
    foreign === undefined
      ? {
          status: 403,
          sentence: "An id of your choice needs an earlier token of that id as Bearer (token_ids).",
        }
      : { status: 403, sentence: "Tokens for that channel are not given to everyone (token_channels)." };
  // The administrator may have it all the same; a user's token is no wrong guess at the secret.
  if (bearer !== null ? looksLikeToken(bearer) : !request.headers.has("cookie")) return refused;
  const check = admin.check(request, client);
  if (check.ok) return null;
  return bearer === null && check.status === 401 ? refused : check;
}

function looksLikeToken(bearer: string): boolean {
  return bearer.startsWith("eyJ") && bearer.split(".").length === 3;
}

/**
 * Whether an entry of `token_channels` gives a channel to a user. The star of a pattern is the entry's own: one that
 * comes in through `{id}` is a plain character.
 */
function entryCovers(entry: string, id: string, channel: string): boolean {
  if (!entry.includes("{id}")) return nameCovers(entry, channel);
  if (!isPattern(entry)) return entry.replaceAll("{id}", () => id) === channel;
  return channel.startsWith(entry.slice(0, -1).replaceAll("{id}", () => id));
}
