import { isUtf8 } from "node:buffer";
import { abilitiesIn, uncoveredCode } from "../../auth/claims.ts";
import { unauthorized } from "../../auth/claims-types.ts";
import type { RevocationKind } from "../../auth/revocations.ts";
import type { JoinCode } from "../../auth/token-codes.ts";
import type { Abilities, Claims, Verdict } from "../../auth/verifier.ts";
import type { PublishAck } from "../../bus/bus.ts";
import { isChannelName, isEventName, RESERVED_EVENTS } from "../../bus/topics.ts";
import type { ForwardedHeaders } from "../../hooks/authorizer.ts";
import { settlesJoin } from "../../hooks/settled.ts";
import type { CallRules } from "../../hub/calls/call-rules.ts";
import { ClientEventBudget } from "../../hub/client-events.ts";
import { parseInfo } from "../../hub/presence/presence-info.ts";
import type { Pushed } from "../../hub/push-envelope.ts";
import type { JoinReason, PushReason } from "../../hub/refusal-reasons.ts";
import { count, countRefusal } from "../../hub/stats.ts";
import type { Client } from "../../transports/client.ts";
import type { Session } from "../../transports/session.ts";
import { CatchUp } from "./catch-up.ts";
import { formatOf } from "./format.ts";
import { type FrameHandler, HeldTopics } from "./held-topics.ts";
import { JoinAuthorizations, type JoinHandler } from "./join-authorizations.ts";
import { infoIn, tokenIn, withoutToken } from "./join-payload.ts";
import { type JoinRefusal, refusalCause, refusalText } from "./join-refusal.ts";
import { agentId, Membership, type Owner } from "./membership.ts";
import { Memberships } from "./memberships.ts";
import { type CallHandler, PhoenixCalls } from "./phoenix-calls.ts";
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
import type { Opening, PhoenixContext } from "./phoenix-context.ts";
import { isAhead, isKept, isLoading, joinAnswer, type Recovery, recoveryIn, recoveryOf } from "./recovery.ts";
import { Replays } from "./replays.ts";
import { type PendingReply, ReplyQueue } from "./reply-queue.ts";

/**
 * Frames that a join costs once a client has joined `maxChannels` times: members and backends are notified of each join, and a
 * client that joins and leaves in a loop must not cost them more than one that pushes.
 */
const REPEATED_JOIN_FRAMES = 10;

/** The reason in the log and in the figures where the application refuses a join. */
const DENIED = "authorization denied";

/** The bus did not accept a push. */
const UNAVAILABLE: PushReason = "backend unavailable";

/** Shared by the clients of which the application gets no header. */
const NO_HEADERS: ForwardedHeaders = Object.freeze({});

/** A client of Phoenix Channels, over any transport. */
export class PhoenixSession implements Session, Owner, FrameHandler, JoinHandler, CallHandler {
  readonly client: Client;
  /** Headers of the client's last request for the application. */
  forwarded: ForwardedHeaders;
  readonly #context: PhoenixContext;
  readonly #binary: boolean;
  readonly #token: string | null;
  readonly #administrator: Claims | null;
  readonly #memberships = new Memberships();
  #codec: Codec | null;
  #serial = 0;
  /** Calls that wait for their answers; `null` for clients that never made one. */
  #calls: PhoenixCalls | null = null;
  /** `null` for clients that push nothing, which are most. */
  #replies: ReplyQueue | null = null;
  /** `null` for clients that were never sent anything from the history. */
  #replays: Replays | null = null;
  /** `null` until it sends an event to other members. */
  #eventBudget: ClientEventBudget | null = null;
  /** `null` unless a join has waited for a position, or for the application. */
  #held: HeldTopics | null = null;
  /** `null` until the application is asked. */
  #authorizations: JoinAuthorizations | null = null;

  constructor(context: PhoenixContext, client: Client, opening: Opening) {
    this.#context = context;
    this.client = client;
    this.#binary = opening.binary;
    this.#token = opening.token;
    this.#administrator = opening.administrator;
    this.#codec = opening.codec;
    this.forwarded = opening.forwarded ?? NO_HEADERS;
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

  /** Whether a member asked for recovery. */
  get hasPositions(): boolean {
    return this.#memberships.all().some(({ fanout }) => fanout.encoder.format.positions);
  }

  reply(frame: string): void {
    this.#reportPositions();
    if (this.#replies === null) this.client.send(frame);
    else this.#replies.send(frame);
  }

  /**
   * Ends a membership whose token expired. phoenix.js rejoins: with a new token if the membership had its own; for a new
   * token of the socket it has to reconnect.
   */
  expire(member: Membership): void {
    if (!member.ownToken) return this.client.finish(1001, "token expired");
    member.end("phx_error", '{"reason":"token expired"}');
    this.#drop(member);
  }

  /** phoenix.js does not rejoin a closed channel. */
  kick(member: Membership): void {
    if (this.#memberships.get(member.channel.name) !== member) return;
    this.#authorizations?.forget(member.channel.name);
    member.end("phx_close", "{}");
    this.#drop(member);
  }

  listening(channel: string): Membership | null {
    return this.#memberships.get(channel) ?? null;
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    if (kind === "session") return this.#administrator?.session?.id === id;
    return this.#memberships.all().some(({ jti }) => jti === id);
  }

  overtaken(): void {
    count(this.#context.context.stats.recoveries, "overtaken");
  }

  /** The next server may know only positions that are newer than the last message of a channel. */
  draining(): void {
    this.#replays?.finish();
    for (const member of this.#memberships.all()) member.reportNewestPosition();
  }

  get awaitsAnswers(): boolean {
    return this.#calls?.waits === true;
  }

  abandonCalls(): void {
    this.#calls?.abandon();
  }

  closed(): void {
    this.#calls?.clear();
    this.#held?.clear();
    this.#authorizations?.end();
    for (const member of this.#memberships.all()) this.#drop(member);
  }

  receive(data: string | Buffer, allowed: boolean): void {
    const frame = this.#decode(data);
    if ("malformed" in frame) return this.#malformed(frame.malformed);
    if (!allowed) return this.#overBudget(frame);
    if (this.#held?.hold(frame)) return;
    this.handle(frame);
  }

  handle(frame: Frame): void {
    if (frame.topic === "phoenix" && frame.event === "heartbeat") return this.#heartbeat(frame);
    if (frame.event === "phx_join") return this.#join(frame);
    if (frame.event === "phx_leave") return this.#leave(frame);
    this.#push(frame);
  }

  isStillAhead({ topic, payload }: Frame): boolean {
    return isAhead(this.#context.hub, topic, recoveryIn(payload));
  }

  isStillLoading({ topic, payload }: Frame): boolean {
    return isLoading(this.#context.hub, topic, recoveryIn(payload));
  }

  #decode(data: string | Buffer): Frame | Malformed {
    if (typeof data === "string") return this.#decodeText(data);
    // Some clients send text in binary frames.
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

  /** Replies to a frame. `topic` and `response` are JSON texts. */
  #reply(joinRef: Ref, ref: Ref, topic: string, status: Status, response: string): void {
    this.reply(this.#replyFrame(joinRef, ref, topic, status, response));
  }

  #replyFrame(joinRef: Ref, ref: Ref, topic: string, status: Status, response: string): string {
    const payload = `{"status":"${status}","response":${response}}`;
    return (this.#codec ?? V2).push(joinRef, ref, topic, '"phx_reply"', payload);
  }

  #malformed(what: string): void {
    const reason = JSON.stringify({ reason: `malformed frame: ${what}` });
    this.reply((this.#codec ?? V2).push(null, null, '"phoenix"', '"phx_error"', reason));
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

  #refuse(frame: Frame, reason: JoinReason | PushReason, joinRef: Ref = frame.joinRef): void {
    countRefusal(this.#context.context.stats, reason);
    this.#replyRefusal(frame, joinRef, refusalText(reason, null));
  }

  /** A push with a null ref gets no reply, a join does. `response` is JSON text. */
  #replyRefusal(frame: Frame, joinRef: Ref, response: string): void {
    if (frame.ref === null && frame.event !== "phx_join") return;
    this.#reply(joinRef, frame.ref, JSON.stringify(frame.topic), "error", response);
  }

  /** @param reason that of the application may be any text */
  #refuseJoin(frame: Frame, reason: string, code: JoinCode, user?: string, cause?: string): void {
    const { id, address } = this.client;
    const fields = { ...(user === undefined ? {} : { user }), ...(cause === undefined ? {} : { cause }) };
    const { refusals, stats } = this.#context.context;
    const known = code === "authorization_denied" ? DENIED : reason;
    refusals.join(known, code, {
      channel: frame.topic,
      ...fields,
      connection: id,
      address,
    });
    countRefusal(stats, known);
    this.#replyRefusal(frame, frame.joinRef, refusalText(reason, code));
    this.#held?.answered(frame);
  }

  #join(frame: Frame): void {
    if (frame.topic === "phoenix") return this.#joinPhoenix(frame);
    if (!isChannelName(frame.topic)) return this.#refuseJoin(frame, "invalid topic", "invalid_topic");
    const own = tokenIn(frame.payload);
    const administrator = this.#administrator;
    if (own === null && administrator !== null && frame.topic === "admin") {
      if (administrator.session?.ended) return this.admitInOrder(frame, unauthorized("session_over"), false);
      return this.admitInOrder(frame, { ok: true, claims: administrator }, false);
    }
    const token = own ?? this.#token;
    if (token === null) return this.#authorize(frame, unauthorized("token_missing"), false);
    this.client.after(this.#context.verify(token, this.client), (verdict) =>
      this.#authorize(frame, verdict, own !== null),
    );
  }

  /** Lets the application decide where no token covers the channel, if it is to be asked. */
  #authorize(frame: Frame, verdict: Verdict, ownToken: boolean): void {
    const { authorizer, maxChannels } = this.#context;
    const rule = authorizer?.ruleFor(frame.topic) ?? null;
    if (authorizer === null || rule === null || settlesJoin(verdict, frame.topic)) {
      return this.admitInOrder(frame, verdict, ownToken);
    }
    this.#authorizations ??= new JoinAuthorizations(this, authorizer, this.#heldTopics(), maxChannels);
    this.#authorizations.decide({ frame, rule, verdict, params: withoutToken(frame.payload) });
  }

  /** A member gets no message before the reply to its join: while earlier replies are missing, later frames are held back. */
  admitInOrder(
    frame: Frame,
    verdict: Verdict | JoinRefusal,
    ownToken: boolean,
    info: string | null = null,
  ): void {
    const replies = this.#replies;
    if (replies === null || replies.empty) return this.#admit(frame, verdict, ownToken, info);
    this.client.after(replies.untilEmpty(), () => this.#admit(frame, verdict, ownToken, info));
  }

  /** The channel for heartbeats: any client may join it, without a token, and has no members. Backends get heartbeats only. */
  #joinPhoenix(frame: Frame): void {
    this.#reply(
      frame.joinRef,
      frame.ref,
      '"phoenix"',
      "ok",
      JSON.stringify({ id: agentId(this.client, frame.topic, frame.joinRef ?? frame.ref) }),
    );
  }

  /** Replies to a join. A client that joins again leaves first, even if the join is rejected. */
  #admit(frame: Frame, verdict: Verdict | JoinRefusal, ownToken: boolean, info: string | null): void {
    const { hub } = this.#context;
    const old = this.#memberships.get(frame.topic);
    if (old !== undefined) {
      old.end("phx_close", "{}");
      this.#drop(old, true);
    }
    if (verdict.ok) this.#admitHolder(frame, verdict.claims, ownToken, info);
    else this.#refuseJoin(frame, verdict.reason, verdict.code, undefined, refusalCause(verdict));
    if (old !== undefined) hub.release(old.channel);
  }

  /** @param givenInfo metadata in place of that in the join; `null`: none was given */
  #admitHolder(frame: Frame, claims: Claims, ownToken: boolean, givenInfo: string | null): void {
    const can = abilitiesIn(claims, frame.topic);
    if (can === null) {
      return this.#refuseJoin(frame, "unauthorized", uncoveredCode(claims, frame.topic), claims.user);
    }
    if (!can.join) return this.#refuseJoin(frame, "forbidden", "join_not_allowed", claims.user);
    if (this.#memberships.size >= this.#context.maxChannels) {
      return this.#refuseJoin(frame, "too many channels joined", "too_many_joined", claims.user);
    }
    // Who may not see presence puts nothing into it.
    const info = can.presence ? (givenInfo ?? infoIn(frame)) : "";
    if (info === null) return this.#refuseJoin(frame, "invalid presence", "invalid_presence", claims.user);
    this.#enterLoaded(frame, claims, can, ownToken, info);
  }

  /** A member gets the presence state before any message: the members on other servers are loaded first. */
  #enterLoaded(frame: Frame, claims: Claims, can: Abilities, ownToken: boolean, info: string): void {
    const { hub } = this.#context;
    const request = recoveryIn(frame.payload);
    const waits = isLoading(hub, frame.topic, request) || isAhead(hub, frame.topic, request);
    if (waits && this.#waits(frame)) return;
    const channel = hub.open(frame.topic);
    const loaded = channel.presence?.load() ?? null;
    if (loaded === null) return this.#enter(frame, claims, can, ownToken, info);
    const deferred = this.client.afterUnlessBusy(loaded, () =>
      this.#enter(frame, claims, can, ownToken, info),
    );
    // Closes the channel if the client is gone.
    if (deferred) void loaded.then(() => hub.release(channel));
  }

  #enter(frame: Frame, claims: Claims, can: Abilities, ownToken: boolean, info: string): void {
    const { hub } = this.#context;
    const request = recoveryIn(frame.payload);
    if (this.#serial >= this.#context.maxChannels) this.client.chargeFrames(REPEATED_JOIN_FRAMES - 1);
    const codec = this.#codec ?? V2;
    const channel = hub.open(frame.topic);
    const format = formatOf(codec, this.#binary, can.presence, request !== null && isKept(channel));
    const fanout = this.#context.fanout(channel, format);
    // V1 has no join_ref: the ref of the join takes its place.
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
    member.info = info;
    this.#memberships.add(member);
    member.expirySlot = this.#context.context.expireAt(member, claims.expiresAt);
    const replays = request !== null || channel.history?.lastValue === true;
    const recovery = replays ? recoveryOf(hub, channel, request) : null;
    if (recovery !== null) this.#catchUp(member, recovery);
    const clientEvents = can.push ? (channel.clientEvents?.listed ?? "") : "";
    const answer = joinAnswer(member.agent, request === null ? null : recovery, clientEvents);
    this.#reply(frame.joinRef, frame.ref, fanout.encoder.quotedTopic, "ok", answer);
    member.subscribe();
    hub.join(member);
    if (this.#replays !== null && recovery !== null) this.#context.recoveries.start(this.#replays);
    hub.notify(frame.topic, "phx_join", withoutToken(frame.payload));
    this.#held?.answered(frame);
  }

  /** Holds back a join whose position this server may receive in a moment. Returns false if it has waited already. */
  #waits(frame: Frame): boolean {
    const { maxChannels } = this.#context;
    const held = this.#heldTopics();
    return this.#memberships.size + held.size < maxChannels && held.wait(frame);
  }

  #heldTopics(): HeldTopics {
    this.#held ??= new HeldTopics(this, this.#context.recoveries);
    return this.#held;
  }

  /** Lets a member get messages from the history before live ones. */
  #catchUp(member: Membership, recovery: Recovery): void {
    const { hub, recoveries, context } = this.#context;
    const { recovered, reason } = recovery;
    if (recovered !== null) {
      member.recovery = reason ?? "recovered";
      const result = member.recovery.replaceAll(" ", "_");
      count(context.stats.recoveries, result);
      member.channel.recoveries ??= {};
      count(member.channel.recoveries, result);
    }
    const awaitsState = member.channel.presence !== null && member.seesPresence;
    member.catchUp = new CatchUp(member, recovery, hub, recoveries, awaitsState);
    this.#replays ??= new Replays(this.client);
    this.#replays.add(member.catchUp);
  }

  /** A client that gets an answer has been sent the positions of all messages before it. */
  #reportPositions(): void {
    if (this.#context.recoveries.late.size === 0) return;
    for (const member of this.#memberships.all()) member.reportPosition();
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

  /** Removes a membership. `rejoins`: its channel stays open for the next one. */
  #drop(member: Membership, rejoins = false): void {
    this.#memberships.delete(member);
    this.#context.context.forgetExpiry(member, member.expirySlot);
    this.#unsubscribe(member);
    if (member.catchUp !== null) this.#replays?.remove(member.catchUp);
    member.catchUp = null;
    if (this.#replays?.empty) this.#context.recoveries.forget(this.#replays);
    this.#context.hub.leave(member, rejoins);
  }

  #push(frame: Frame): void {
    const member = this.#memberships.get(frame.topic);
    if (member === undefined) return this.#refuse(frame, "unmatched topic", null);
    if (member.isStale(frame.joinRef)) return;
    if (frame.event === "access_token") return this.#renew(frame, member);
    if (frame.event === "presence" && member.channel.presenceMeta) return this.#updatePresence(frame, member);
    if (!isEventName(frame.event) || RESERVED_EVENTS.has(frame.event))
      return this.#refuse(frame, "invalid event");
    if (!this.#context.hub.mayName(frame.topic, frame.event)) return this.#refuse(frame, "invalid event");
    if (!member.canPush) return this.#refuse(frame, "forbidden");
    const { calls } = member.channel;
    if (calls?.covers(frame.event)) return this.#call(frame, member, calls);
    const { event, ref, payload } = frame;
    const pushed = { member, event, ref, payload };
    const shared = member.channel.clientEvents?.covers(event) === true;
    if (shared && !this.#mayShare(frame, pushed)) return;
    const ack = new PushAck(this, member, ref);
    if (ref !== null) {
      this.#replies ??= new ReplyQueue(this.client);
      this.#replies.expect(ack);
    }
    this.#context.hub.push(pushed, ack);
    if (shared) this.#context.hub.share(pushed);
  }

  /** A push that a backend answers. Its reply is not in the order of other replies. */
  #call(frame: Frame, member: Membership, rules: CallRules): void {
    this.#calls ??= new PhoenixCalls(this.#context.hub, this);
    if (!this.#calls.start(frame, member, rules)) this.#refuse(frame, "too many calls");
  }

  /** @param payload JSON text */
  replyToCall(member: Membership, ref: Ref, payload: string): void {
    if (this.#memberships.get(member.channel.name) !== member || ref === null) return;
    this.#reportPositions();
    const { quotedTopic } = member.fanout.encoder;
    this.client.send((this.#codec ?? V2).push(member.joinRef, ref, quotedTopic, '"phx_reply"', payload));
  }

  /** Whether other members may get a push; if not, it is refused. */
  #mayShare(frame: Frame, pushed: Pushed): boolean {
    const { hub, clientEventsPerSecond } = this.#context;
    const now = performance.now();
    this.#eventBudget ??= new ClientEventBudget(clientEventsPerSecond, now);
    const bytes = hub.sharedBytes(pushed);
    if (bytes === null) this.#refuse(frame, "payload too large");
    else if (!this.#eventBudget.spend(bytes, now)) this.#refuse(frame, "too many client events");
    else return true;
    return false;
  }

  /** Replaces the metadata that presence shows of a member. */
  #updatePresence(frame: Frame, member: Membership): void {
    if (!member.seesPresence) return this.#refuse(frame, "forbidden");
    const info = typeof frame.payload === "string" ? parseInfo(frame.payload) : null;
    if (info === null) return this.#refuse(frame, "invalid presence");
    if (info !== (member.meta.info ?? "")) {
      if (!member.mayUpdate(performance.now())) return this.#refuse(frame, "rate limited");
      this.#context.hub.updatePresence(member, info);
    }
    if (frame.ref !== null) {
      this.#reply(member.joinRef, frame.ref, member.fanout.encoder.quotedTopic, "ok", "{}");
    }
  }

  /** Replies to a push when the bus has accepted or refused it. */
  settle(ack: PushAck, accepted: boolean): void {
    if (!accepted) countRefusal(this.#context.context.stats, UNAVAILABLE);
    const { member, ref } = ack;
    if (ref === null) return;
    const status = accepted ? "ok" : "error";
    const response = accepted ? "{}" : refusalText(UNAVAILABLE, null);
    const frame = this.#replyFrame(member.joinRef, ref, member.fanout.encoder.quotedTopic, status, response);
    this.#reportPositions();
    this.#replies?.settle(ack, frame);
  }

  /**
   * Replaces the token of a membership by one of the same user for the same topic. It is not sent to backends. A token that
   * no longer allows joining ends the membership.
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
      if (member.seesPresence !== can.presence) this.#setPresence(member, can.presence);
    });
  }

  /** Starts or stops sending presence to a member. */
  #setPresence(member: Membership, presence: boolean): void {
    const { channel, format } = member.fanout.encoder;
    const { codec, binary, positions } = format;
    const fanout = this.#context.fanout(channel, formatOf(codec, binary, presence, positions));
    member.fanout.flush(this.client);
    this.#unsubscribe(member);
    member.fanout = fanout;
    member.subscribe();
    this.#context.hub.presenceVisibilityChanged(member);
  }

  #unsubscribe(member: Membership): void {
    const { fanout, channel } = member;
    member.unsubscribe();
    if (fanout.empty) channel.removeReceiver(fanout);
  }
}

/** A push that waits for the bus, and its pending reply. */
class PushAck implements PublishAck, PendingReply {
  readonly member: Membership;
  readonly ref: Ref;
  frame: string | null = null;
  next: PendingReply | null = null;
  readonly #session: PhoenixSession;

  constructor(session: PhoenixSession, member: Membership, ref: Ref) {
    this.#session = session;
    this.member = member;
    this.ref = ref;
  }

  settled(accepted: boolean): void {
    this.#session.settle(this, accepted);
  }
}

/** Whether the data of a binary frame is text: Phoenix' binary frames begin with 0. */
function isText(data: Buffer): boolean {
  let at = 0;
  while (data[at] === 0x20 || data[at] === 0x09 || data[at] === 0x0a || data[at] === 0x0d) at++;
  return data[at] === 0x5b || data[at] === 0x7b;
}
