import type { Redis } from "ioredis";
import type { Log } from "../../log.ts";
import type {
  Bus,
  BusListener,
  BusState,
  Greeting,
  GroupAck,
  MessageGroup,
  PublishAck,
  SubscribedFamily,
} from "../bus.ts";
import { Relay, type RelayPlace } from "../relay/relay.ts";
import { parseRedisAddress, type RedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { checkBufferLimit } from "./redis-buffer-limit.ts";
import { NO_CLUSTER, RedisConnection, SUBSCRIBER_NAME } from "./redis-connection.ts";
import type { Refusable } from "./redis-handshake.ts";
import { RedisPublisher } from "./redis-publisher.ts";
import { RedisError, type RedisValue } from "./redis-reply.ts";
import { isUnasked, isUnfit, noticeOf, whyNoMaster } from "./redis-role.ts";
import { watchSentinels } from "./redis-sentinels.ts";
import { readSlots } from "./redis-slots.ts";
import { RedisSubscriber } from "./redis-subscriber.ts";

export interface RedisBusOptions {
  /** `redis_url`; the forms are those of `parseRedisAddress`. */
  readonly url: string;
  /** Credentials for the Sentinels. */
  readonly sentinel?: SentinelCredentials;
  /** Added before each name in Redis. Default: none. */
  readonly prefix?: string;
  /** Bytes. Sixteen such messages may wait for a Redis that does not read; beyond them publishes are refused. */
  readonly maxPayload: number;
  /** Given to a worker: one of all workers of the machine receives for the others. */
  readonly relayPlace?: RelayPlace | null;
  readonly log: Log;
}

/** Between two checks of both connections, in ms. */
const TICK = 200;
/** Ticks of silence after which PING is sent (1 s), and after which a subscription is given up (2.6 s). */
const PING_AFTER = 5;
const GIVE_UP_AFTER = 13;
/** Ticks after which the first attempt counts as failed (3 s). */
const FIRST_ATTEMPT = 15;
/** Ticks between two log entries about refused messages (1 minute). */
const REFUSALS_EVERY = 300;
/** Ticks between two checks of the permission to publish (5 s). */
const PERMISSION_EVERY = 25;
/** The inquiry sent every 5 s to the server that messages are published to. */
const ROLE = ["ROLE"];
const NODES = ["CLUSTER", "SLOTS"];

/**
 * The bus over a Redis server, Sentinels or a cluster. Subscribing and publishing have a connection each, so that neither
 * waits for the other. Live: the subscription is confirmed, the publishing connection answers, the server is a master, and
 * clients' messages may be published.
 * @throws BusError if the address is invalid.
 */
export function createRedisBus(options: RedisBusOptions): Bus {
  return new RedisBus(options);
}

class RedisBus implements Bus {
  readonly kind = "redis";
  readonly #log: Log;
  readonly #address: RedisAddress;
  readonly #shown: string;
  readonly #prefix: string;
  readonly #maxPayload: number;
  readonly #subscribing: RedisConnection;
  readonly #publishing: RedisConnection;
  #subscriber: RedisSubscriber | null = null;
  readonly #publisher: RedisPublisher;
  readonly #relay: Relay | null;
  /** The node of a cluster that is subscribed; otherwise empty. */
  #node = "";
  readonly #attempted = Promise.withResolvers<void>();
  #listener: BusListener | null = null;
  #subscribed = false;
  #usable = false;
  /** Why clients' messages may not be published; `null` if they may, `undefined` while unknown. */
  #forbidden: string | null | undefined;
  #state: BusState;
  /** Whether the log has the loss of the connection. */
  #logged = false;
  /** The notice about its cause that was logged last (`noticeOf`). */
  #notice: string | null = null;
  #warnedOfRole = false;
  #warnedOfTime = false;
  #warnedOfHub = false;
  #warnedOfReplies = false;
  /** Why the last subscription has no messages between servers, and no answers to calls. */
  #hubRefusal: string | null = null;
  #replyRefusal: string | null = null;
  #families: readonly SubscribedFamily[] = [];
  #checkedLimit = false;
  /** The server that both connections are connected to; `null` if they differ. */
  #common: string | null = null;
  #ticker: Timer | null = null;
  #unwatch: (() => void) | null = null;
  #ticks = 0;
  /** Bytes received on the subscribing connection, at the last tick. */
  #received = 0;
  /** Ticks without a byte. */
  #silent = 0;
  #refusedAt: number | null = null;
  #lastRefusal = "";

  constructor({ url, sentinel, prefix = "", maxPayload, relayPlace = null, log }: RedisBusOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#log = log;
    this.#address = address;
    this.#shown = address.shown;
    this.#prefix = prefix;
    this.#maxPayload = maxPayload;
    this.#state = { live: false, detail: `not yet connected to ${this.#shown}`, gaps: 0, since: Date.now() };
    const roleUnknown = (reason: string): void => this.#warnOfRole(reason);
    const subscribing = {
      opened: (redis: Redis) => this.#subscriberUp(redis),
      lost: (why: string) => this.#subscriberDown(why),
      roleUnknown,
    };
    const publishing = {
      opened: (redis: Redis) => this.#publisherUp(redis),
      lost: (why: string) => this.#publisherDown(why),
      prepare: (redis: Redis) => this.#checkLimit(redis),
      roleUnknown,
    };
    this.#subscribing = new RedisConnection(
      address,
      { name: SUBSCRIBER_NAME, protocol: 2 },
      subscribing,
      log,
    );
    this.#publishing = new RedisConnection(address, { name: "channel-publisher" }, publishing, log);
    this.#relay =
      relayPlace === null
        ? null
        : new Relay(
            { place: relayPlace, longest: maxPayload, log },
            {
              message: (name, payload, room) => this.#listener?.message(name, payload, room),
              unheard: (name, bytes) => this.#listener?.unheard?.(name, bytes),
              remote: () => this.#relayedRemote(),
              askPermission: () => this.#subscriber?.askRelease(),
              mark: () => this.#mark(),
              relayed: () => this.#subscriber?.release("to"),
              failed: (reason) => this.#subscribing.drop(reason),
            },
          );
    this.#publisher = new RedisPublisher(
      {
        refused: (error) => this.#refused(error),
        answered: (value) => this.#answered(value),
        failed: (reason) => this.#publishing.drop(reason),
      },
      {
        prefix,
        maxWaiting: 16 * maxPayload,
        inquiry: address.kind === "cluster" ? NODES : ROLE,
        countsAll: address.kind !== "cluster",
      },
    );
  }

  get state(): BusState {
    return this.#state;
  }

  subscribe(families: readonly SubscribedFamily[], listener: BusListener): Promise<void> {
    this.#listener = listener;
    this.#families = families;
    const relay = this.#relay;
    this.#subscriber = new RedisSubscriber(
      {
        subscribed: () => {
          this.#subscribed = true;
          relay?.subscribed();
        },
        permitted: (refusal) => {
          this.#forbidden = refusal;
          this.#update(refusal ?? undefined);
        },
        refused: (what, reason) => this.#refusedPart(what, reason),
        releasable: (isPermitted) => relay?.permitted(isPermitted),
        message:
          relay === null
            ? (name, payload, room) => this.#listener?.message(name, payload, room)
            : (name, payload, room) => relay.own(name, payload, room),
        failed: (reason) => this.#subscribing.drop(reason),
      },
      {
        families,
        prefix: this.#prefix,
        maxPayload: this.#maxPayload,
        clustered: this.#address.kind === "cluster",
        ...(listener.greeting === undefined
          ? {}
          : { greeting: (brokerTime, node) => this.#greet(brokerTime, node) }),
      },
    );
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#subscribing.start();
    this.#publishing.start();
    if (this.#address.kind === "sentinel") {
      this.#unwatch = watchSentinels(this.#address, (master) => {
        for (const connection of [this.#subscribing, this.#publishing]) {
          // One that is not connected asks the Sentinels anyway.
          if (connection.open && !master.has(connection.remote ?? "")) {
            connection.drop("another master was chosen");
          }
        }
      });
    }
    return this.#attempted.promise;
  }

  hears(family: SubscribedFamily): boolean {
    if (!this.#subscribed || !this.#families.includes(family)) return false;
    if (family === "reply") return this.#replyRefusal === null;
    return family === "to" || this.#hubRefusal === null;
  }

  publish(name: string, payload: string | Uint8Array, ack?: PublishAck): void {
    // Also while the subscription is lost: backends still receive it.
    if (this.#usable && typeof this.#forbidden !== "string") this.#publisher.publish(name, payload, ack);
    else ack?.settled(false);
  }

  publishGroup(group: MessageGroup, ack: GroupAck): void {
    if (this.#usable && typeof this.#forbidden !== "string") this.#publisher.publishGroup(group, ack);
    else ack.finished("not", false);
  }

  async stop(): Promise<void> {
    if (this.#relay !== null) await this.#relay.stop();
    this.#listener = null;
    this.#families = [];
    if (this.#ticker !== null) clearInterval(this.#ticker);
    this.#ticker = null;
    this.#unwatch?.();
    this.#publisher.flush();
    const ended = Promise.all([this.#subscribing.stop(), this.#publishing.stop()]);
    this.#usable = false;
    this.#publisher.close();
    this.#attempted.resolve();
    await ended;
  }

  #greet(brokerTime: number, node: string): Greeting | null {
    this.#node = node;
    return this.#listener?.greeting?.(brokerTime, node) ?? null;
  }

  /** Publishes a greeting: no other message equals it. */
  #mark(): Greeting | null {
    const greeting = this.#listener?.greeting?.(Date.now() * 1000, "") ?? null;
    if (greeting !== null) this.publish(greeting.name, greeting.payload);
    return greeting;
  }

  /** The server that all workers have to be subscribed to; `null` where none could receive for another. */
  #relayedRemote(): string | null {
    // Nodes of a cluster send messages in different orders.
    if (!this.hears("hub") || !this.#usable || this.#node !== "") return null;
    const { remote } = this.#subscribing;
    if (remote === null) return this.#address.options.path ?? null;
    return remote === this.#publishing.remote ? remote : null;
  }

  #subscriberUp(redis: Redis): void {
    this.#silent = 0;
    this.#hubRefusal = null;
    this.#replyRefusal = null;
    this.#subscriber?.take(redis.stream);
  }

  #subscriberDown(reason: string): void {
    const { gaps } = this.#state;
    const wasSubscribed = this.#subscribed;
    this.#subscribed = false;
    this.#forbidden = undefined;
    this.#subscriber?.close();
    this.#relay?.lost();
    if (wasSubscribed) {
      this.#state = { ...this.#state, gaps: gaps + 1 };
      this.#listener?.lost?.();
    }
    this.#update(reason);
  }

  #publisherUp(redis: Redis): void {
    this.#publisher.take(redis.stream, {
      settled: (accepted) => {
        if (!this.#publishing.open) return;
        if (!accepted) {
          this.#publishing.drop(this.#lastRefusal);
          return;
        }
        this.#usable = true;
        this.#followPublisher();
        this.#update();
      },
    });
  }

  /**
   * Drops the subscription if the publishing connection moved to another server (the host name or the master changed).
   * The old server may be a replica now, and only the publishing connection checks the role.
   */
  #followPublisher(): void {
    const { remote } = this.#publishing;
    if (this.#address.kind === "cluster" || !this.#subscribing.open) return;
    const moved =
      this.#common !== null && this.#subscribing.remote === this.#common && remote !== this.#common;
    this.#common = this.#subscribing.remote === remote ? remote : null;
    if (moved) this.#subscribing.drop(`messages are published at ${remote} now`);
  }

  #publisherDown(reason: string): void {
    this.#usable = false;
    this.#publisher.close();
    this.#update(reason);
  }

  /** Updates the state; calls the listener if `live` changed. `reason`: why the bus is not live. */
  #update(reason?: string): void {
    const live = this.#subscribed && this.#usable && this.#forbidden === null;
    const before = this.#state;
    if (live) {
      if (before.live) return;
      const away = Date.now() - before.since;
      const { gaps } = before;
      this.#state = { live, ...this.#place(), gaps, since: Date.now() };
      this.#log.info("Redis connected", {
        where: this.#shown,
        ...(this.#logged ? { awayMs: away, gaps } : {}),
      });
      this.#logged = false;
      this.#notice = null;
      this.#warnOfRefusals();
      this.#attempted.resolve();
      this.#listener?.changed(this.#state);
      return;
    }
    if (reason === undefined) return;
    const notice = noticeOf(reason);
    const { gaps } = before;
    this.#state = {
      live,
      detail: `cannot ${notice === null ? "reach" : "use"} ${this.#shown}: ${reason}`,
      gaps,
      since: before.live ? Date.now() : before.since,
    };
    if (!this.#logged) {
      this.#logged = true;
      this.#notice = notice;
      const message = before.live ? "Redis connection lost, retrying" : "Redis not reachable, retrying";
      this.#log.warn(message, { where: this.#shown, reason });
    } else if (notice !== null && this.#notice === null) {
      // An operator has to act, and "connection closed" alone does not say so.
      this.#notice = notice;
      this.#log.warn(notice, { where: this.#shown, reason });
    }
    this.#attempted.resolve();
    if (before.live) this.#listener?.changed(this.#state);
  }

  /** The server in use. */
  #place(): { detail: string; where: string } {
    if (this.#address.kind === "single") return { detail: `connected to ${this.#shown}`, where: this.#shown };
    const subscribing = this.#placeOf(this.#subscribing);
    const publishing = this.#placeOf(this.#publishing);
    const where =
      subscribing === publishing ? publishing : `${subscribing} (subscribed) and ${publishing} (publishing)`;
    return { detail: `connected to ${where}, by ${this.#shown}`, where };
  }

  #placeOf(connection: RedisConnection): string {
    const { where, remote } = connection;
    return this.#address.kind === "cluster" ? where : (remote ?? where);
  }

  async #checkLimit(redis: Redis): Promise<void> {
    if (this.#checkedLimit) return;
    this.#checkedLimit = true;
    await checkBufferLimit(redis, this.#shown, this.#log);
  }

  #warnOfRole(reason: string): void {
    if (this.#warnedOfRole) return;
    this.#warnedOfRole = true;
    const message = "Redis does not answer ROLE, a replica would not be noticed";
    this.#log.warn(message, { where: this.#shown, reason });
  }

  /** The reply to the inquiry. */
  #answered(value: RedisValue): void {
    if (this.#address.kind === "cluster") {
      if (value instanceof RedisError) return;
      const nodes = readSlots(value);
      if (nodes.length === 0) this.#publishing.drop(NO_CLUSTER);
      for (const connection of [this.#publishing, this.#subscribing]) connection.learn(nodes);
      return;
    }
    if (value instanceof RedisError) {
      if (isUnasked(value.message)) this.#warnOfRole(value.message);
      else this.#publishing.drop(value.message);
      return;
    }
    const why = whyNoMaster(value);
    if (why === null) return;
    this.#publishing.drop(why);
    this.#subscribing.drop(why);
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks === FIRST_ATTEMPT) this.#attempted.resolve();
    this.#publisher.tick();
    this.#relay?.tick();
    if (!this.#subscribing.open) return;
    if (this.#ticks % PERMISSION_EVERY === 0) this.#subscriber?.askPermission();
    const { received } = this.#subscribing;
    if (received !== this.#received) {
      this.#received = received;
      this.#silent = 0;
    } else if (++this.#silent === PING_AFTER) {
      this.#subscriber?.ping();
    } else if (this.#silent >= GIVE_UP_AFTER) {
      this.#subscribing.drop("no answer");
    }
  }

  #refusedPart(what: Refusable, reason: string): void {
    if (what === "hub:*") this.#hubRefusal = reason;
    else if (what === "reply:*") this.#replyRefusal = reason;
    else if (!this.#warnedOfTime) {
      this.#warnedOfTime = true;
      const message = "Redis does not answer TIME, using the local clock";
      this.#log.debug(message, { where: this.#shown, reason });
    }
  }

  /** Only where all else is permitted: a user without any rights is another problem. */
  #warnOfRefusals(): void {
    const where = this.#shown;
    if (this.#hubRefusal !== null && !this.#warnedOfHub) {
      this.#warnedOfHub = true;
      const message = "Redis refused hub:*, messages between servers and history are not available";
      this.#log.warn(message, { where, reason: this.#hubRefusal });
    }
    if (this.#replyRefusal !== null && !this.#warnedOfReplies) {
      this.#warnedOfReplies = true;
      const message = "Redis refused reply:*, calls by Redis are not available";
      this.#log.warn(message, { where, reason: this.#replyRefusal });
    }
  }

  #refused(error: string): void {
    this.#lastRefusal = error;
    if (!this.#usable) return;
    if (isUnfit(error)) {
      this.#publishing.drop(error);
      return;
    }
    // Whether this concerns one message or all of them.
    if (error.startsWith("NOPERM")) this.#subscriber?.askPermission();
    if (this.#refusedAt !== null && this.#ticks - this.#refusedAt < REFUSALS_EVERY) return;
    this.#refusedAt = this.#ticks;
    this.#log.warn("Redis refused a message", { where: this.#shown, reason: error });
  }
}
