import { isUtf8 } from "node:buffer";
import { abilitiesIn, uncoveredCode } from "../../auth/claims.ts";
import { unauthorized } from "../../auth/claims-types.ts";
import type { RevocationKind } from "../../auth/revocations.ts";
import { DISCLOSED_CODES, type JoinCode } from "../../auth/token-codes.ts";
import type { Abilities, Claims, Verdict, Verify } from "../../auth/verifier.ts";
import type { PublishAck } from "../../bus/bus.ts";
import { isChannelName, isEventName, RESERVED_EVENTS } from "../../bus/topics.ts";
import type { Channel } from "../../hub/channel.ts";
import type { Hub } from "../../hub/hub.ts";
import { withoutMember } from "../../hub/json/members.ts";
import { countRefusal } from "../../hub/stats.ts";
import type { Client } from "../../transports/client.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import type { Session } from "../../transports/session.ts";
import { type Answer, Answers } from "./answers.ts";
import { type Format, formatOf } from "./format.ts";
import { agentId, Membership, type Owner } from "./membership.ts";
import { Memberships } from "./memberships.ts";
import {
  type Codec,
  decodeBinary,
  type Frame,
  type Malformed,
  type Ref,
  type Status,
  V1,
  V2,
} from "./phoenix-codec.ts";
import type { PhoenixFanout } from "./phoenix-encoder.ts";

/** What the sessions of this protocol share. */
export interface PhoenixContext {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly verify: Verify;
  /** Topics that one client may join. */
  readonly maxChannels: number;
  /** The fanout of a channel and format, created for its first member. */
  fanout(channel: Channel, format: Format): PhoenixFanout;
}

/** What a client says of itself when it connects. */
export interface Opening {
  /** The version asked for, or `null`: the first frame decides. */
  readonly codec: Codec | null;
  /** Whether binary payloads may come as binary frames. */
  readonly binary: boolean;
  /** The socket's token, for joins that bring none. */
  readonly token: string | null;
  /** What an administrator's cookie allows that came with it from our own pages. */
  readonly administrator: Claims | null;
}

/** A client that speaks Phoenix Channels, over whichever transport. */
export class PhoenixSession implements Session, Owner {
  readonly client: Client;
  readonly #context: PhoenixContext;
  readonly #binary: boolean;
  readonly #token: string | null;
  readonly #administrator: Claims | null;
  readonly #memberships = new Memberships();
  #codec: Codec | null;
  #serial = 0;
  /** `null` for the many that push nothing. */
  #answers: Answers | null = null;

  constructor(context: PhoenixContext, client: Client, opening: Opening) {
    this.#context = context;
    this.client = client;
    this.#binary = opening.binary;
    this.#token = opening.token;
    this.#administrator = opening.administrator;
    this.#codec = opening.codec;
  }

  get protocol(): string {
    return "phoenix";
  }

  get users(): readonly string[] {
    return [...new Set(this.#memberships.all().map(({ user }) => user))];
  }

  get channels(): readonly string[] {
    return this.#memberships.all().map(({ channel }) => channel.name);
  }

  answer(frame: string): void {
    if (this.#answers === null) this.client.send(frame);
    else this.#answers.send(frame);
  }

  /**
   * Ends a membership whose token ran out. phoenix.js rejoins, with a new token if that was the membership's own; for a new
   * token of the socket it has to connect anew.
   */
  expire(member: Membership): void {
    if (!member.ownToken) return this.client.finish(1001, "token expired");
    member.end("phx_error", '{"reason":"token expired"}');
    this.#drop(member);
  }

  /** phoenix.js does not rejoin what was closed. */
  kick(member: Membership): void {
    if (this.#memberships.get(member.channel.name) !== member) return;
    member.end("phx_close", "{}");
    this.#drop(member);
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    if (kind === "session") return this.#administrator?.session?.id === id;
    return this.#memberships.all().some(({ jti }) => jti === id);
  }

  closed(): void {
    for (const member of this.#memberships.all()) this.#drop(member);
  }

  receive(data: string | Buffer, allowed: boolean): void {
    const frame = this.#decode(data);
    if ("malformed" in frame) return this.#malformed(frame.malformed);
    if (!allowed) return this.#overBudget(frame);
    if (frame.topic === "phoenix" && frame.event === "heartbeat") return this.#heartbeat(frame);
    if (frame.event === "phx_join") return this.#join(frame);
    if (frame.event === "phx_leave") return this.#leave(frame);
    this.#push(frame);
  }

  #decode(data: string | Buffer): Frame | Malformed {
    if (typeof data === "string") return this.#decodeText(data);
    // Some clients send their text in binary frames.
    if (this.#codec !== V1 && !isText(data)) {
      this.#codec ??= V2;
      return decodeBinary(data);
    }
    return isUtf8(data) ? this.#decodeText(data.toString("utf8")) : { malformed: "not UTF-8" };
  }

  #decodeText(data: string): Frame | Malformed {
    if (this.#codec === null) {
      const first = data.trimStart().charAt(0);
      if (first !== "[" && first !== "{") return { malformed: "neither an array nor an object" };
      this.#codec = first === "[" ? V2 : V1;
    }
    return this.#codec.decode(data);
  }

  /** Replies to a frame. `topic` and `response` are JSON text. */
  #reply(joinRef: Ref, ref: Ref, topic: string, status: Status, response: string): void {
    this.answer(this.#replyFrame(joinRef, ref, topic, status, response));
  }

  #replyFrame(joinRef: Ref, ref: Ref, topic: string, status: Status, response: string): string {
    const payload = `{"status":"${status}","response":${response}}`;
    return (this.#codec ?? V2).push(joinRef, ref, topic, '"phx_reply"', payload);
  }

  #malformed(what: string): void {
    const reason = JSON.stringify({ reason: `malformed frame: ${what}` });
    this.answer((this.#codec ?? V2).push(null, null, '"phoenix"', '"phx_error"', reason));
    countRefusal(this.#context.context.stats, "malformed frame");
    this.client.countMalformed();
  }

  #overBudget(frame: Frame): void {
    if (frame.event === "phx_leave" || (frame.topic === "phoenix" && frame.event === "heartbeat")) return;
    if (frame.event === "phx_join") return this.#refuseJoin(frame, "rate limited", "rate_limited");
    this.#refuse(frame, "rate limited");
  }

  #heartbeat(frame: Frame): void {
    this.#reply(frame.joinRef, frame.ref, '"phoenix"', "ok", "{}");
    this.#context.hub.notify("phoenix", "heartbeat", `{"conn_id":"${this.client.id}"}`);
  }

  /** A push with a null ref gets no answer, a join does. */
  #refuse(frame: Frame, reason: string, joinRef: Ref = frame.joinRef, code: JoinCode | null = null): void {
    countRefusal(this.#context.context.stats, reason);
    if (frame.ref === null && frame.event !== "phx_join") return;
    this.#reply(joinRef, frame.ref, JSON.stringify(frame.topic), "error", refusalText(reason, code));
  }

  #refuseJoin(frame: Frame, reason: string, code: JoinCode, user?: string): void {
    const { id, address } = this.client;
    const who = user === undefined ? {} : { user };
    this.#context.context.refusals.join(reason, code, {
      channel: frame.topic,
      ...who,
      connection: id,
      address,
    });
    this.#refuse(frame, reason, frame.joinRef, code);
  }

  #join(frame: Frame): void {
    if (frame.topic === "phoenix") return this.#joinPhoenix(frame);
    if (!isChannelName(frame.topic)) return this.#refuseJoin(frame, "invalid topic", "invalid_topic");
    const own = tokenIn(frame.payload);
    const administrator = this.#administrator;
    if (own === null && administrator !== null && frame.topic === "admin") {
      if (administrator.session?.ended) return this.#admitInTurn(frame, unauthorized("session_over"), false);
      return this.#admitInTurn(frame, { ok: true, claims: administrator }, false);
    }
    const token = own ?? this.#token;
    if (token === null) return this.#admitInTurn(frame, unauthorized("token_missing"), false);
    this.client.after(this.#context.verify(token, this.client), (verdict) =>
      this.#admitInTurn(frame, verdict, own !== null),
    );
  }

  /** No member hears a channel before the answer to its join: while that may not be sent, all that follows is held back. */
  #admitInTurn(frame: Frame, verdict: Verdict, ownToken: boolean): void {
    const answers = this.#answers;
    if (answers === null || answers.empty) return this.#admit(frame, verdict, ownToken);
    this.client.after(answers.untilEmpty(), () => this.#admit(frame, verdict, ownToken));
  }

  /** The channel for heartbeats: anybody may join it, nobody is in it. Backends hear only heartbeats: it needs no token. */
  #joinPhoenix(frame: Frame): void {
    this.#reply(
      frame.joinRef,
      frame.ref,
      '"phoenix"',
      "ok",
      JSON.stringify({ id: agentId(this.client, frame.topic, frame.joinRef ?? frame.ref) }),
    );
  }

  /** Answers a join. Whoever joins again has left before, whatever the answer is. */
  #admit(frame: Frame, verdict: Verdict, ownToken: boolean): void {
    const { hub } = this.#context;
    const old = this.#memberships.get(frame.topic);
    if (old !== undefined) {
      old.end("phx_close", "{}");
      this.#drop(old, true);
    }
    if (verdict.ok) this.#admitHolder(frame, verdict.claims, ownToken);
    else this.#refuseJoin(frame, verdict.reason, verdict.code);
    if (old !== undefined) hub.release(old.channel);
  }

  #admitHolder(frame: Frame, claims: Claims, ownToken: boolean): void {
    const can = abilitiesIn(claims, frame.topic);
    if (can === null) {
      return this.#refuseJoin(frame, "unauthorized", uncoveredCode(claims, frame.topic), claims.user);
    }
    if (!can.join) return this.#refuseJoin(frame, "forbidden", "join_not_allowed", claims.user);
    if (this.#memberships.size >= this.#context.maxChannels) {
      return this.#refuseJoin(frame, "too many channels joined", "too_many_joined", claims.user);
    }
    this.#enter(frame, claims, can, ownToken);
  }

  #enter(frame: Frame, claims: Claims, can: Abilities, ownToken: boolean): void {
    const { hub } = this.#context;
    const codec = this.#codec ?? V2;
    const format = formatOf(codec, this.#binary, can.presence);
    const fanout = this.#context.fanout(hub.open(frame.topic), format);
    // V1 has no join_ref: there it is the ref of the join.
    const joinRef = frame.joinRef ?? (codec === V1 ? frame.ref : null);
    const agentRef = frame.joinRef ?? frame.ref;
    const member = new Membership(
      this,
      fanout,
      joinRef,
      agentRef,
      ++this.#serial,
      claims.user,
      can.push,
      ownToken,
    );
    member.jti = claims.jti;
    this.#memberships.add(member);
    member.expirySlot = this.#context.context.expireAt(member, claims.expiresAt);
    this.#reply(
      frame.joinRef,
      frame.ref,
      fanout.encoder.quotedTopic,
      "ok",
      `{"id":${JSON.stringify(member.agent)}}`,
    );
    fanout.add(this.client);
    hub.join(member);
    hub.notify(frame.topic, "phx_join", withoutToken(frame.payload));
  }

  #leave(frame: Frame): void {
    const topic = JSON.stringify(frame.topic);
    const member = this.#memberships.get(frame.topic);
    if (member === undefined) return this.#reply(frame.joinRef, frame.ref, topic, "ok", "{}");
    if (member.isStale(frame.joinRef)) return;
    this.#drop(member);
    this.#reply(member.joinRef, frame.ref, topic, "ok", "{}");
    member.end("phx_close", "{}");
    this.#context.hub.notify(frame.topic, "phx_leave", withoutToken(frame.payload));
  }

  /** Takes a membership back wherever it is known. `rejoins`: its channel stays open for the next one. */
  #drop(member: Membership, rejoins = false): void {
    this.#memberships.delete(member);
    this.#context.context.forgetExpiry(member, member.expirySlot);
    this.#unsubscribe(member);
    this.#context.hub.leave(member, rejoins);
  }

  #push(frame: Frame): void {
    const member = this.#memberships.get(frame.topic);
    if (member === undefined) return this.#refuse(frame, "unmatched topic", null);
    if (member.isStale(frame.joinRef)) return;
    if (frame.event === "access_token") return this.#renew(frame, member);
    if (!isEventName(frame.event) || RESERVED_EVENTS.has(frame.event))
      return this.#refuse(frame, "invalid event");
    if (!member.canPush) return this.#refuse(frame, "forbidden");
    const receipt = new PushAck(this, member, frame.ref);
    if (frame.ref !== null) {
      this.#answers ??= new Answers(this.client);
      this.#answers.expect(receipt);
    }
    this.#context.hub.push(member, frame.event, frame.payload, receipt);
  }

  /** Answers a push when the bus has said whether it took it. */
  settle(receipt: PushAck, taken: boolean): void {
    if (!taken) countRefusal(this.#context.context.stats, "backend unavailable");
    const { member, ref } = receipt;
    if (ref === null) return;
    const status = taken ? "ok" : "error";
    const response = taken ? "{}" : '{"reason":"backend unavailable"}';
    const frame = this.#replyFrame(member.joinRef, ref, member.fanout.encoder.quotedTopic, status, response);
    this.#answers?.settle(receipt, frame);
  }

  /**
   * A newer token for a membership, of the same user and for the same topic. It goes no further than here. One that no
   * longer allows to be in the channel ends the membership.
   */
  #renew(frame: Frame, member: Membership): void {
    const token = tokenIn(frame.payload);
    if (token === null) return this.#refuseJoin(frame, "unauthorized", "token_missing");
    this.client.after(this.#context.verify(token, this.client), (verdict) => {
      if (!verdict.ok) return this.#refuseJoin(frame, verdict.reason, verdict.code);
      const { claims } = verdict;
      if (this.#memberships.get(frame.topic) !== member) return this.#refuse(frame, "unmatched topic");
      const can = abilitiesIn(claims, frame.topic);
      if (claims.user !== member.user) {
        return this.#refuseJoin(frame, "unauthorized", "other_user", claims.user);
      }
      if (can === null) {
        return this.#refuseJoin(frame, "unauthorized", uncoveredCode(claims, frame.topic), claims.user);
      }
      if (!can.join) {
        this.#refuseJoin(frame, "forbidden", "join_not_allowed", claims.user);
        return this.kick(member);
      }
      this.#context.context.forgetExpiry(member, member.expirySlot);
      member.ownToken = true;
      member.jti = claims.jti;
      member.canPush = can.push;
      member.expirySlot = this.#context.context.expireAt(member, claims.expiresAt);
      if (frame.ref !== null) {
        this.#reply(member.joinRef, frame.ref, member.fanout.encoder.quotedTopic, "ok", "{}");
      }
      if (member.seesPresence !== can.presence) this.#showPresence(member, can.presence);
    });
  }

  /** From now on a member hears of who is there, or no longer. */
  #showPresence(member: Membership, presence: boolean): void {
    const { channel, format } = member.fanout.encoder;
    const fanout = this.#context.fanout(channel, formatOf(format.codec, format.binary, presence));
    this.#unsubscribe(member);
    member.fanout = fanout;
    fanout.add(this.client);
    this.#context.hub.presenceVisibilityChanged(member);
  }

  #unsubscribe({ fanout, channel }: Membership): void {
    fanout.remove(this.client);
    if (fanout.empty) channel.removeReceiver(fanout);
  }
}

/** A push that waits for the bus, and the place of its answer. */
class PushAck implements PublishAck, Answer {
  readonly member: Membership;
  readonly ref: Ref;
  frame: string | null = null;
  next: Answer | null = null;
  readonly #session: PhoenixSession;

  constructor(session: PhoenixSession, member: Membership, ref: Ref) {
    this.#session = session;
    this.member = member;
    this.ref = ref;
  }

  settled(taken: boolean): void {
    this.#session.settle(this, taken);
  }
}

/** Whether the data of a binary frame is text: Phoenix' binary frames begin with 0. */
function isText(data: Buffer): boolean {
  let at = 0;
  while (data[at] === 0x20 || data[at] === 0x09 || data[at] === 0x0a || data[at] === 0x0d) at++;
  return data[at] === 0x5b || data[at] === 0x7b;
}

function refusalText(reason: string, code: JoinCode | null): string {
  return reason === "unauthorized" && code !== null && DISCLOSED_CODES.has(code)
    ? `{"reason":"${reason}","code":"${code}"}`
    : `{"reason":"${reason}"}`;
}

function tokenIn(payload: string | Uint8Array): string | null {
  if (typeof payload !== "string") return null;
  const value: unknown = JSON.parse(payload);
  if (typeof value !== "object" || value === null || !("token" in value)) return null;
  return typeof value.token === "string" ? value.token : null;
}

/** A join's or leave's payload as backends may see it: a bearer token never travels through Redis. */
function withoutToken(payload: string | Uint8Array): string {
  if (typeof payload !== "string") return "{}";
  return payload.startsWith("{") ? withoutMember(payload, "token") : payload;
}
