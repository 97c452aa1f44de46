import type { Redis } from "ioredis";
import type { Log } from "../../log.ts";
import type { Bus, BusListener, BusState, PublishAck } from "../bus.ts";
import { parseRedisAddress, type RedisAddress, type SentinelSignIn } from "./redis-address.ts";
import { checkBufferLimit } from "./redis-buffer-limit.ts";
import { NO_CLUSTER, RedisConnection } from "./redis-connection.ts";
import { RedisPublisher } from "./redis-publisher.ts";
import { RedisError, type RedisValue } from "./redis-reply.ts";
import { isUnasked, isUnfit, noticeOf, whyNoMaster } from "./redis-role.ts";
import { watchSentinels } from "./redis-sentinels.ts";
import { readSlots } from "./redis-slots.ts";
import { RedisSubscriber } from "./redis-subscriber.ts";

export interface RedisBusOptions {
  /** `redis_url`; the forms are those of `parseRedisAddress`. */
  readonly url: string;
  /** Where the Sentinels want a password of their own. */
  readonly sentinel?: SentinelSignIn;
  /** In bytes. Sixteen such messages may wait for a Redis that does not read; then pushes are refused at once. */
  readonly maxPayload: number;
  readonly log: Log;
}

/** Between two looks at both connections, in ms. */
const TICK = 200;
/** Ticks of silence after which a subscription is asked whether it lives (1 s), and those until it is given up (2.6 s). */
const ASK_AFTER = 5;
const GIVE_UP_AFTER = 13;
/** Ticks within which the first try has succeeded or is taken to have failed (3 s). */
const FIRST_TRY = 15;
/** Ticks between two entries in the log about refused messages (1 minute). */
const REFUSALS_EVERY = 300;
/** Ticks between two questions whether we may publish (5 s). */
const PERMISSION_EVERY = 25;
/** What is asked of the server that we publish to, every 5 s. */
const ROLE = ["ROLE"];
const NODES = ["CLUSTER", "SLOTS"];

/**
 * The bus over a Redis server, a Sentinel or a cluster. Two connections, since one that subscribes must not wait behind
 * what we publish: it is live when the subscription is confirmed, the other one answers, the server is a master, and
 * clients' messages may be published there.
 * @throws BusError where the address is none.
 */
export function createRedisBus(options: RedisBusOptions): Bus {
  return new RedisBus(options);
}

class RedisBus implements Bus {
  readonly kind = "redis";
  readonly #log: Log;
  readonly #address: RedisAddress;
  readonly #shown: string;
  readonly #hearing: RedisConnection;
  readonly #speaking: RedisConnection;
  readonly #intake: RedisSubscriber;
  readonly #outlet: RedisPublisher;
  readonly #tried = Promise.withResolvers<void>();
  #listener: BusListener | null = null;
  #subscribed = false;
  #usable = false;
  /** Why clients' messages may not be published; `undefined` while that is not known. */
  #forbidden: string | null | undefined;
  #state: BusState;
  #told = false;
  /** What the log says of the cause, beside that there is no connection. */
  #notice: string | null = null;
  #warnedOfRole = false;
  #checkedLimit = false;
  /** The one server that both connections led to. */
  #together: string | null = null;
  #ticker: Timer | null = null;
  #unwatch: (() => void) | null = null;
  #ticks = 0;
  #heard = 0;
  #silent = 0;
  #refusedAt: number | null = null;
  #lastRefusal = "";

  constructor({ url, sentinel, maxPayload, log }: RedisBusOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#log = log;
    this.#address = address;
    this.#shown = address.shown;
    this.#state = { live: false, detail: `not yet connected to ${this.#shown}`, gaps: 0, since: Date.now() };
    const roleUnknown = (reason: string): void => this.#warnOfRole(reason);
    const hearing = {
      opened: (redis: Redis) => this.#hear(redis),
      lost: (why: string) => this.#deaf(why),
      roleUnknown,
    };
    const speaking = {
      opened: (redis: Redis) => this.#speak(redis),
      lost: (why: string) => this.#mute(why),
      prepare: (redis: Redis) => this.#checkLimit(redis),
      roleUnknown,
    };
    this.#hearing = new RedisConnection(address, { name: "channel-hears", protocol: 2 }, hearing, log);
    this.#speaking = new RedisConnection(address, { name: "channel-speaks" }, speaking, log);
    this.#intake = new RedisSubscriber(
      {
        subscribed: () => {
          this.#subscribed = true;
        },
        permitted: (refusal) => {
          this.#forbidden = refusal;
          this.#turn(refusal ?? undefined);
        },
        message: (name, payload, room) => this.#listener?.message(name, payload, room),
        failed: (reason) => this.#hearing.drop(reason),
      },
      maxPayload,
    );
    this.#outlet = new RedisPublisher(
      {
        refused: (error) => this.#refused(error),
        answered: (value) => this.#answered(value),
        failed: (reason) => this.#speaking.drop(reason),
      },
      16 * maxPayload,
      address.kind === "cluster" ? NODES : ROLE,
    );
  }

  get state(): BusState {
    return this.#state;
  }

  start(listener: BusListener): Promise<void> {
    this.#listener = listener;
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#hearing.start();
    this.#speaking.start();
    if (this.#address.kind === "sentinel") {
      this.#unwatch = watchSentinels(this.#address, (master) => {
        for (const link of [this.#hearing, this.#speaking]) {
          // One that is not connected asks the Sentinels anyway.
          if (link.open && !master.has(link.remote ?? "")) link.drop("another master was chosen");
        }
      });
    }
    return this.#tried.promise;
  }

  publish(name: string, payload: string | Uint8Array, receipt?: PublishAck): void {
    // Also while nothing is heard: what is published is not lost for that.
    if (this.#usable && typeof this.#forbidden !== "string") this.#outlet.publish(name, payload, receipt);
    else receipt?.settled(false);
  }

  async stop(): Promise<void> {
    this.#listener = null;
    if (this.#ticker !== null) clearInterval(this.#ticker);
    this.#ticker = null;
    this.#unwatch?.();
    this.#outlet.flush();
    const ended = Promise.all([this.#hearing.stop(), this.#speaking.stop()]);
    this.#usable = false;
    this.#outlet.close();
    this.#tried.resolve();
    await ended;
  }

  #hear(redis: Redis): void {
    this.#silent = 0;
    this.#intake.take(redis.stream);
  }

  #deaf(reason: string): void {
    const { gaps } = this.#state;
    if (this.#subscribed) this.#state = { ...this.#state, gaps: gaps + 1 };
    this.#subscribed = false;
    this.#forbidden = undefined;
    this.#intake.close();
    this.#turn(reason);
  }

  #speak(redis: Redis): void {
    this.#outlet.take(redis.stream, {
      settled: (taken) => {
        if (!this.#speaking.open) return;
        if (!taken) {
          this.#speaking.drop(this.#lastRefusal);
          return;
        }
        this.#usable = true;
        this.#leaveOther();
        this.#turn();
      },
    });
  }

  /**
   * A name that leads elsewhere than before, a master that was replaced for one: the subscription must not stay behind,
   * where nothing asks it for its role any more.
   */
  #leaveOther(): void {
    const { remote } = this.#speaking;
    if (this.#address.kind === "cluster" || !this.#hearing.open) return;
    const left =
      this.#together !== null && this.#hearing.remote === this.#together && remote !== this.#together;
    this.#together = this.#hearing.remote === remote ? remote : null;
    if (left) this.#hearing.drop(`messages are published at ${remote} now`);
  }

  #mute(reason: string): void {
    this.#usable = false;
    this.#outlet.close();
    this.#turn(reason);
  }

  /** Brings the state up to date, and tells it once where `live` changed. */
  #turn(reason?: string): void {
    const live = this.#subscribed && this.#usable && this.#forbidden === null;
    const before = this.#state;
    if (live) {
      if (before.live) return;
      const away = Date.now() - before.since;
      const { gaps } = before;
      this.#state = { live, ...this.#place(), gaps, since: Date.now() };
      this.#log.info("Redis connected", {
        where: this.#shown,
        ...(this.#told ? { awayMs: away, gaps } : {}),
      });
      this.#told = false;
      this.#notice = null;
      this.#tried.resolve();
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
    if (!this.#told) {
      this.#told = true;
      this.#notice = notice;
      const message = before.live
        ? "Redis lost, trying until it is back"
        : "no Redis yet, trying until it is there";
      this.#log.warn(message, { where: this.#shown, reason });
    } else if (notice !== null && this.#notice === null) {
      // Waiting does not cure this: whoever reads only that the connection was closed would look elsewhere.
      this.#notice = notice;
      this.#log.warn(notice, { where: this.#shown, reason });
    }
    this.#tried.resolve();
    if (before.live) this.#listener?.changed(this.#state);
  }

  /** The server in use. */
  #place(): { detail: string; where: string } {
    if (this.#address.kind === "single") return { detail: `connected to ${this.#shown}`, where: this.#shown };
    const hears = this.#placeOf(this.#hearing);
    const speaks = this.#placeOf(this.#speaking);
    const where = hears === speaks ? hears : `${hears} (subscribed) and ${speaks} (publishing)`;
    return { detail: `connected to ${where}, by ${this.#shown}`, where };
  }

  #placeOf(link: RedisConnection): string {
    return this.#address.kind === "cluster" ? link.where : (link.remote ?? link.where);
  }

  async #checkLimit(redis: Redis): Promise<void> {
    if (this.#checkedLimit) return;
    this.#checkedLimit = true;
    await checkBufferLimit(redis, this.#shown, this.#log);
  }

  #warnOfRole(reason: string): void {
    if (this.#warnedOfRole) return;
    this.#warnedOfRole = true;
    const message = "Redis does not tell its role (ROLE): that it is a replica would not be noticed";
    this.#log.warn(message, { where: this.#shown, reason });
  }

  /** What Redis answered to the question that it is asked every 5 s. */
  #answered(value: RedisValue): void {
    if (this.#address.kind === "cluster") {
      if (value instanceof RedisError) return;
      const nodes = readSlots(value);
      if (nodes.length === 0) this.#speaking.drop(NO_CLUSTER);
      for (const link of [this.#speaking, this.#hearing]) link.learn(nodes);
      return;
    }
    if (value instanceof RedisError) {
      if (isUnasked(value.message)) this.#warnOfRole(value.message);
      else this.#speaking.drop(value.message);
      return;
    }
    const why = whyNoMaster(value);
    if (why === null) return;
    this.#speaking.drop(why);
    this.#hearing.drop(why);
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks === FIRST_TRY) this.#tried.resolve();
    this.#outlet.tick();
    if (!this.#hearing.open) return;
    if (this.#ticks % PERMISSION_EVERY === 0) this.#intake.askPermission();
    const heard = this.#hearing.heard;
    if (heard !== this.#heard) {
      this.#heard = heard;
      this.#silent = 0;
    } else if (++this.#silent === ASK_AFTER) {
      // Any byte is a sign of life, so what becomes of this one question does not matter.
      this.#intake.ask();
    } else if (this.#silent >= GIVE_UP_AFTER) {
      this.#hearing.drop("no answer");
    }
  }

  #refused(error: string): void {
    this.#lastRefusal = error;
    if (!this.#usable) return;
    if (isUnfit(error)) {
      this.#speaking.drop(error);
      return;
    }
    // This one message, or all? The answer says.
    if (error.startsWith("NOPERM")) this.#intake.askPermission();
    if (this.#refusedAt !== null && this.#ticks - this.#refusedAt < REFUSALS_EVERY) return;
    this.#refusedAt = this.#ticks;
    this.#log.warn("Redis refused a message", { where: this.#shown, reason: error });
  }
}
