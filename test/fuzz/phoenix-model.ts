import { type Claims, nameRules } from "./rules.ts";

/** What a frame says, read by `JSON.parse` alone; `null` where it is malformed. */
export interface Fields {
  readonly joinRef: Ref;
  readonly ref: Ref;
  readonly topic: string;
  readonly event: string;
  /** The payload as a value, or bytes. */
  readonly payload: unknown;
}

export type Ref = string | number | null;

/** The expected answer to one frame. */
export type Expected =
  | { readonly kind: "reply"; readonly ref: Ref; readonly status: string; readonly reason: string | null }
  | { readonly kind: "malformed" }
  | { readonly kind: "silence" };

interface Joined {
  joinRef: Ref;
  readonly user: string;
  canPush: boolean;
}

/** Malformed frames after which a client is dismissed. */
const LAST_STRIKE = 10;
const RESERVED =
  /^(phx_join|phx_leave|phx_reply|phx_close|phx_error|heartbeat|presence_state|presence_diff)$/;
const SILENCE: Expected = { kind: "silence" };

/** One Phoenix client as described in phoenix.md: its memberships and the expected answers. */
export class Model {
  version: 1 | 2 | null;
  readonly joined = new Map<string, Joined>();
  readonly #token: string | null;
  readonly #maxChannels: number;
  readonly #verdict: (token: string) => Claims | string;
  #strikes = 0;

  constructor(
    version: 1 | 2 | null,
    token: string | null,
    maxChannels: number,
    verdict: (token: string) => Claims | string,
  ) {
    this.version = version;
    this.#token = token;
    this.#maxChannels = maxChannels;
    this.#verdict = verdict;
  }

  /** Whether too many malformed frames came. */
  get dismissed(): boolean {
    return this.#strikes >= LAST_STRIKE;
  }

  /** The token that must be looked up before this frame can be answered; `null` for none. */
  tokenOf(fields: Fields | null): string | null {
    if (fields === null) return null;
    const { topic, event } = fields;
    if (event === "phx_join") {
      if (topic === "phoenix" || !nameRules.channel(topic)) return null;
      return ownToken(fields) ?? this.#token;
    }
    const member = this.joined.get(topic);
    const renews = event === "access_token" && member !== undefined && !isStale(member, fields.joinRef);
    return renews ? ownToken(fields) : null;
  }

  /** Memberships with an expired token end at the server's next check. */
  expire(holds: (topic: string) => boolean): void {
    for (const [topic, { user }] of this.joined)
      if (user === "brief" && !holds(topic)) this.joined.delete(topic);
  }

  /** @param live whether the bus is connected */
  judge(fields: Fields | null, live: boolean): Expected {
    if (fields === null) {
      this.#strikes++;
      return { kind: "malformed" };
    }
    const { ref, topic, event, joinRef } = fields;
    const answer = (reason: string | null): Expected => ({
      kind: "reply",
      ref,
      status: reason === null ? "ok" : "error",
      reason,
    });
    // A push with a null ref gets no reply; heartbeats, joins and leaves always get one.
    const reply = (reason: string | null): Expected => (ref === null ? SILENCE : answer(reason));
    if (topic === "phoenix" && (event === "heartbeat" || event === "phx_join")) return answer(null);
    if (event === "phx_join") return answer(this.#join(fields));
    const member = this.joined.get(topic);
    if (event === "phx_leave") {
      if (member !== undefined && isStale(member, joinRef)) return SILENCE;
      this.joined.delete(topic);
      return answer(null);
    }
    if (member === undefined) return reply("unmatched topic");
    if (isStale(member, joinRef)) return SILENCE;
    if (event === "access_token") return reply(this.#renew(fields, member));
    if (!nameRules.event(event) || RESERVED.test(event)) return reply("invalid event");
    if (!member.canPush) return reply("forbidden");
    return reply(live ? null : "backend unavailable");
  }

  #join(fields: Fields): string | null {
    const { topic } = fields;
    if (!nameRules.channel(topic)) return "invalid topic";
    const token = ownToken(fields) ?? this.#token;
    const claims = token === null ? "unauthorized" : this.#verdict(token);
    this.joined.delete(topic);
    if (typeof claims === "string") return claims;
    if (!nameRules.covers(claims, topic)) return "unauthorized";
    if (!claims.join) return "forbidden";
    if (this.joined.size >= this.#maxChannels) return "too many channels joined";
    const joinRef = fields.joinRef ?? (this.version === 1 ? fields.ref : null);
    this.joined.set(topic, { joinRef, user: claims.user, canPush: claims.push });
    return null;
  }

  #renew(fields: Fields, member: Joined): string | null {
    const token = ownToken(fields);
    const claims = token === null ? "unauthorized" : this.#verdict(token);
    if (typeof claims === "string") return claims;
    if (claims.user !== member.user || !nameRules.covers(claims, fields.topic)) return "unauthorized";
    if (!claims.join) {
      this.joined.delete(fields.topic);
      return "forbidden";
    }
    member.canPush = claims.push;
    return null;
  }
}

function isStale(member: Joined, joinRef: Ref): boolean {
  return joinRef !== null && member.joinRef !== null && String(joinRef) !== String(member.joinRef);
}

function ownToken({ payload }: Fields): string | null {
  if (typeof payload !== "object" || payload === null || !Object.hasOwn(payload, "token")) return null;
  const token: unknown = Object.getOwnPropertyDescriptor(payload, "token")?.value;
  return typeof token === "string" ? token : null;
}

/** Levels of lists and objects in a frame; deeper ones are malformed. */
const MAX_DEPTH = 10_000;

function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [part] of text.replace(/"(?:[^"\\]|\\.)*"/g, "").matchAll(/[[\]{}]/g)) {
    depth += part === "[" || part === "{" ? 1 : -1;
    most = Math.max(most, depth);
  }
  return most;
}

/** Reads a text frame; the first one of a socket without a version chooses the version. */
export function readText(text: string, model: Model): Fields | null {
  if (model.version === null) {
    const first = text.trimStart().charAt(0);
    if (first !== "[" && first !== "{") return null;
    model.version = first === "[" ? 2 : 1;
  }
  let value: unknown;
  if (text.length > MAX_DEPTH && depthOf(text) > MAX_DEPTH) return null;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (model.version === 2) {
    return Array.isArray(value) && value.length === 5
      ? fieldsOf(value[0], value[1], value[2], value[3], value[4])
      : null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const own = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  if (!Object.hasOwn(value, "payload")) return null;
  return fieldsOf(own("join_ref") ?? null, own("ref") ?? null, own("topic"), own("event"), own("payload"));
}

/** Reads a binary push, after Phoenix' serializer. */
export function readBinary(bytes: Buffer, model: Model): Fields | null {
  model.version ??= 2;
  if (model.version === 1 || bytes.length < 5 || bytes[0] !== 0) return null;
  const texts: string[] = [];
  let at = 5;
  for (let i = 1; i < 5; i++) {
    const end = at + (bytes[i] ?? 0);
    if (end > bytes.length) return null;
    try {
      texts.push(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(at, end)));
    } catch {
      return null;
    }
    at = end;
  }
  const [joinRef, ref, topic, event] = texts;
  return fieldsOf(joinRef || null, ref || null, topic, event, null);
}

function fieldsOf(
  joinRef: unknown,
  ref: unknown,
  topic: unknown,
  event: unknown,
  payload: unknown,
): Fields | null {
  if (!isRef(joinRef) || !isRef(ref) || typeof topic !== "string" || typeof event !== "string") return null;
  return { joinRef, ref, topic, event, payload };
}

function isRef(value: unknown): value is Ref {
  if (typeof value === "string") return new TextEncoder().encode(value).length <= 64;
  return value === null || Number.isSafeInteger(value);
}
