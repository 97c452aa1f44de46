import type { Redis } from "ioredis";
import type { Log } from "../log.ts";
import type { Bus, BusListener, BusState, Receipt } from "./bus.ts";
import { parseRedisAddress, type RedisAddress } from "./redis-address.ts";
import { RedisIntake } from "./redis-intake.ts";
import { RedisLink } from "./redis-link.ts";
import { RedisOutlet } from "./redis-outlet.ts";
import { watchSentinels } from "./redis-sentinels.ts";

export interface RedisBusOptions {
  /** `redis_url`; the forms are those of `parseRedisAddress`. */
  readonly url: string;
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
/** How a Redis answers whom it does not know, or who may not do what we do. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH|ERR invalid password)/;

/**
 * The bus over a Redis server, a Sentinel or a cluster. Two connections, since one that subscribes must not wait behind
 * what we publish: it is live when the subscription is confirmed and the other one answers.
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
  readonly #hearing: RedisLink;
  readonly #speaking: RedisLink;
  readonly #intake: RedisIntake;
  readonly #outlet: RedisOutlet;
  readonly #tried = Promise.withResolvers<void>();
  #listener: BusListener | null = null;
  #subscribed = false;
  #usable = false;
  #state: BusState;
  #told = false;
  /** Whether the log says that Redis does not let us in. */
  #toldRefused = false;
  #ticker: Timer | null = null;
  #unwatch: (() => void) | null = null;
  #ticks = 0;
  #heard = 0;
  #silent = 0;
  #refusedAt: number | null = null;
  #lastRefusal = "";

  constructor({ url, maxPayload, log }: RedisBusOptions) {
    const address = parseRedisAddress(url);
    this.#log = log;
    this.#address = address;
    this.#shown = address.shown;
    this.#state = { live: false, detail: `not yet connected to ${this.#shown}`, gaps: 0, since: Date.now() };
    const hearing = { opened: (redis: Redis) => this.#hear(redis), lost: (why: string) => this.#deaf(why) };
    const speaking = { opened: (redis: Redis) => this.#speak(redis), lost: (why: string) => this.#mute(why) };
    this.#hearing = new RedisLink(address, "channel-hears", hearing, log);
    this.#speaking = new RedisLink(address, "channel-speaks", speaking, log);
    this.#intake = new RedisIntake(
      {
        subscribed: () => {
          this.#subscribed = true;
          this.#turn();
        },
        message: (name, payload, room) => this.#listener?.message(name, payload, room),
        failed: (reason) => this.#hearing.drop(reason),
      },
      maxPayload,
    );
    this.#outlet = new RedisOutlet(
      {
        refused: (error) => this.#refused(error),
        failed: (reason) => this.#speaking.drop(reason),
      },
      16 * maxPayload,
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
      this.#unwatch = watchSentinels(this.#address, () => {
        this.#hearing.drop("another master was chosen");
        this.#speaking.drop("another master was chosen");
      });
    }
    return this.#tried.promise;
  }

  publish(name: string, payload: string | Uint8Array, receipt?: Receipt): void {
    if (this.#usable) this.#outlet.publish(name, payload, receipt);
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
    this.#subscribed = false;
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
        this.#turn();
      },
    });
  }

  #mute(reason: string): void {
    this.#usable = false;
    this.#outlet.close();
    this.#turn(reason);
  }

  /** Brings the state up to date, and tells it once where `live` changed. */
  #turn(reason?: string): void {
    const live = this.#subscribed && this.#usable;
    const before = this.#state;
    if (live) {
      if (before.live) return;
      const away = Date.now() - before.since;
      this.#state = { live, detail: `connected to ${this.#shown}`, gaps: before.gaps, since: Date.now() };
      const { gaps } = this.#state;
      this.#log.info("Redis connected", {
        where: this.#shown,
        ...(this.#told ? { awayMs: away, gaps } : {}),
      });
      this.#told = false;
      this.#toldRefused = false;
      this.#tried.resolve();
      this.#listener?.changed(this.#state);
      return;
    }
    if (reason === undefined) return;
    const detail = `cannot reach ${this.#shown}: ${reason}`;
    if (before.live) {
      this.#state = { live, detail, gaps: before.gaps + 1, since: Date.now() };
    } else {
      this.#state = { ...before, detail };
    }
    const refused = REFUSED.test(reason);
    if (!this.#told) {
      this.#told = true;
      this.#toldRefused = refused;
      const message = before.live
        ? "Redis lost, trying until it is back"
        : "no Redis yet, trying until it is there";
      this.#log.warn(message, { where: this.#shown, reason });
    } else if (refused && !this.#toldRefused) {
      // Waiting does not cure this: whoever reads only that the connection was closed would look elsewhere.
      this.#toldRefused = true;
      this.#log.warn("Redis does not let us in, trying until it does", { where: this.#shown, reason });
    }
    this.#tried.resolve();
    if (before.live) this.#listener?.changed(this.#state);
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks === FIRST_TRY) this.#tried.resolve();
    this.#outlet.tick();
    if (!this.#hearing.open) return;
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
    if (this.#refusedAt !== null && this.#ticks - this.#refusedAt < REFUSALS_EVERY) return;
    this.#refusedAt = this.#ticks;
    this.#log.warn("Redis refused a message", { where: this.#shown, reason: error });
  }
}
