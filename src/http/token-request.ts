import { ABILITIES, ALL, isUserId, MAX_USER_BYTES } from "../auth/claims.ts";
import { isObject, type JsonObject, ownValue } from "../auth/json-object.ts";
import type { Ability, GrantedChannels } from "../auth/mint.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Abilities } from "../auth/verifier.ts";
import { isChannelName } from "../bus/topics.ts";
import { randomId } from "../hub/random-id.ts";

/** A valid body of `POST /token`. */
export interface TokenRequest {
  readonly id: string;
  /** Whether the body contained the id. */
  readonly chosen: boolean;
  /** Requested abilities by channel name or pattern. */
  readonly rights: ReadonlyMap<string, Abilities>;
  /** The form of the channels in the body, kept in the response. */
  readonly form: "channel" | "list" | "object";
}

function unusable(reason: string): Rejection {
  return new Rejection(422, "invalid_request", reason);
}

/** Parses a body. @param idLength length of a generated id */
export function parseTokenRequest(value: unknown, idLength: number): TokenRequest | Rejection {
  if (!isObject(value)) return unusable('Send an object such as {"channel": "system", "id": "client1"}.');
  const channel = ownValue(value, "channel") ?? undefined;
  const channels = ownValue(value, "channels") ?? undefined;
  if (channel !== undefined && channels !== undefined) return unusable("Send channel or channels, not both.");
  if (channel === undefined && channels === undefined) return unusable("channel or channels is required.");
  const can = readCan(ownValue(value, "can") ?? undefined, ALL);
  if (can === null) return unusable(WRONG_CAN);

  const rights = isObject(channels)
    ? readRights(channels)
    : readNames(channels === undefined ? [channel] : channels, can);
  if (rights instanceof Rejection) return rights;

  const id = ownValue(value, "id") ?? "";
  if (typeof id !== "string" || !isUserId(id)) {
    return unusable(`id must be well-formed text of at most ${MAX_USER_BYTES} bytes.`);
  }
  const chosen = id.trim() !== "";
  const form = channels === undefined ? "channel" : isObject(channels) ? "object" : "list";
  return { id: chosen ? id : randomId(idLength), chosen, rights, form };
}

const NO_CHANNELS = "channels must be a list or object with at least one channel name.";
const WRONG_NAME = "A channel name has 1 to 255 bytes and no control characters.";
const WRONG_CAN = `can must be a list of ${ABILITIES.map((one) => `"${one}"`).join(", ")}.`;

function readNames(names: unknown, can: Abilities): Map<string, Abilities> | Rejection {
  const rights = new Map<string, Abilities>();
  if (!Array.isArray(names)) return unusable(NO_CHANNELS);
  for (const name of names) {
    if (typeof name !== "string" || !isChannelName(name)) return unusable(WRONG_NAME);
    rights.set(name, can);
  }
  return rights.size === 0 ? unusable(NO_CHANNELS) : rights;
}

function readRights(channels: JsonObject): Map<string, Abilities> | Rejection {
  const rights = new Map<string, Abilities>();
  for (const [name, list] of Object.entries(channels)) {
    if (!isChannelName(name)) return unusable(WRONG_NAME);
    const can = readCan(list, null);
    if (can === null) return unusable(WRONG_CAN);
    rights.set(name, can);
  }
  return rights.size === 0 ? unusable(NO_CHANNELS) : rights;
}

/** Stricter than for tokens: an unknown ability is an error. */
function readCan(list: unknown, absent: Abilities | null): Abilities | null {
  if (list === undefined) return absent;
  if (!Array.isArray(list) || !list.every((one) => ABILITIES.some((known) => known === one))) return null;
  return { join: list.includes("join"), push: list.includes("push"), presence: list.includes("presence") };
}

/**
 * The claims for these abilities; with `can` unless everything is allowed in all channels.
 *
 * @param elsewhere the most that `can` may allow: it is for the user's own channel too, which is not among `rights`
 */
export function granted(
  rights: ReadonlyMap<string, Abilities>,
  form: TokenRequest["form"],
  elsewhere: Abilities = ALL,
): { readonly channels: GrantedChannels; readonly can?: readonly Ability[] } {
  const [first = ALL, ...others] = rights.values();
  const differs = others.some((each) => ABILITIES.some((one) => each[one] !== first[one]));
  const exceeds = ABILITIES.some((one) => first[one] && !elsewhere[one]);
  if (form === "object" || differs || exceeds) {
    const entries = Array.from(rights, ([name, can]) => [name, listed(can)] as const);
    const channels = { channels: Object.fromEntries(entries) };
    return ABILITIES.every((one) => elsewhere[one]) ? { channels } : { channels, can: listed(elsewhere) };
  }
  const [name = ""] = rights.keys();
  const channels = form === "channel" ? { channel: name } : { channels: [...rights.keys()] };
  return ABILITIES.every((one) => first[one]) ? { channels } : { channels, can: listed(first) };
}

function listed(can: Abilities): Ability[] {
  return ABILITIES.filter((one) => can[one]);
}
