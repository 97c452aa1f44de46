import {
  LEASE,
  STREAMS,
  type WebhookBatch,
  type WebhookEvent,
  type WebhookStore,
} from "../hub/webhooks/webhook-store.ts";
import type { Log } from "../log.ts";
import type { HookAnswer, HookClient, HookFailure } from "./hook-client.ts";

/** Between two polls of a stream: that this server sends, or another one, in ms. */
const POLL = 100;
const TAKE_EVERY = 2000;

/** Between two extensions of a lease while nothing is polled, and after a poll that failed, in ms. */
const EXTEND_EVERY = 2000;
const AWAY = 1000;

/** Time for one request, in ms: it ends before the lease does. */
const TIMEOUT = 7000;

/** Pauses between two attempts, in ms: the first, doubled each time up to the longest. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;

/** How long a batch is tried before it is given up, in ms. */
const GIVE_UP_AFTER = 600_000;

/** Time for requests to end when the server stops, in ms. */
const STOP_WAIT = 2000;

/**
 * Why events were lost. `undelivered`: tried for ten minutes. `backlog`: too many waited. `unwritten`: users that came and left while Redis was
 * away.
 */
export type LostReason = "undelivered" | "backlog" | "unwritten";

export interface WebhookSenderOptions {
  readonly store: WebhookStore;
  readonly client: Pick<HookClient, "post">;
  readonly url: string;
  readonly log: Log;
  readonly delivered: (events: number) => void;
  readonly failed: () => void;
  readonly lost: (events: number, reason: LostReason) => void;
  /** Overrides of the constants above, for tests, in ms. */
  readonly firstPause?: number;
  readonly giveUpAfter?: number;
}

/** A stream, as its sender knows it. */
interface Sending {
  readonly stream: number;
  /** Until when this server may send it (`performance.now()`); 0 without the lease. */
  leaseUntil: number;
  /** Events that wait, as of the last poll. */
  backlog: number;
  /** What could not be delivered yet. */
  batch: WebhookBatch | null;
  attempts: number;
  /** When it is due again (`performance.now()`). */
  dueAt: number;
  extendAt: number;
  busy: boolean;
  extending: boolean;
}

/** Sends the events of the streams whose lease this server has, one request of a stream at a time. */
export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  /** Of this process; never used twice. */
  readonly #owner = crypto.randomUUID();
  readonly #streams: readonly Sending[] = Array.from({ length: STREAMS }, (_, stream) => ({
    ...{ stream, leaseUntil: 0, backlog: 0, batch: null, attempts: 0 },
    ...{ dueAt: 0, extendAt: 0, busy: false, extending: false },
  }));
  readonly #running = new Set<Promise<void>>();
  #timer: Timer | null = null;
  /** Whether the last request failed. */
  #failing = false;
  #stopped = false;
  #stopping: Promise<void> | null = null;

  constructor(options: WebhookSenderOptions) {
    this.#options = options;
  }

  /** Events of this server's streams that wait. */
  get backlog(): number {
    return this.#streams.reduce((sum, { backlog }) => sum + backlog, 0);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), POLL);
  }

  /** Whether this server has the lease of a stream. */
  sends(stream: number): boolean {
    return (this.#streams[stream]?.leaseUntil ?? 0) > performance.now();
  }

  /** Ends what is being sent, and gives the leases back. Can be called again. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.race([Promise.all(this.#running), Bun.sleep(STOP_WAIT)]);
    const { store } = this.#options;
    // A request that still runs keeps its lease until that expires.
    const idle = this.#streams.filter(({ leaseUntil, busy }) => leaseUntil > 0 && !busy);
    for (const each of this.#streams) this.#lose(each);
    await Promise.all(idle.map(({ stream }) => store.release(stream, this.#owner)));
  }

  #tick(): void {
    const now = performance.now();
    for (const each of this.#streams) {
      if (!each.busy && each.dueAt <= now) this.#run(each);
      else this.#extend(each, now);
    }
  }

  #run(each: Sending): void {
    each.busy = true;
    const running = this.#next(each).finally(() => {
      each.busy = false;
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  async #next(each: Sending): Promise<void> {
    // With a batch the lease was extended; if it was lost, the batch is gone.
    if (each.batch === null && !(await this.#poll(each))) return;
    while (each.batch !== null && !this.#stopped && (await this.#send(each, each.batch))) {
      if (!(await this.#poll(each))) return;
    }
  }

  /** Returns whether there is a batch to send. */
  async #poll(each: Sending): Promise<boolean> {
    const { store, lost } = this.#options;
    const asked = performance.now();
    const polled = store.ready ? await store.poll(each.stream, this.#owner, false) : null;
    each.dueAt = performance.now() + (polled === null ? AWAY : polled.kind === "other" ? TAKE_EVERY : 0);
    if (polled === null) return false;
    if (polled.kind === "other") {
      this.#lose(each);
      return false;
    }
    if (polled.dropped > 0) lost(polled.dropped, "backlog");
    each.backlog = polled.backlog;
    each.leaseUntil = asked + LEASE;
    each.extendAt = asked + EXTEND_EVERY;
    if (polled.kind === "idle") return false;
    each.batch = polled.batch;
    each.attempts = 0;
    return true;
  }

  /** Extends the lease while a request runs, or waits to be repeated. */
  #extend(each: Sending, now: number): void {
    const { store, lost } = this.#options;
    if (each.extending || now < each.extendAt || each.leaseUntil === 0) return;
    each.extending = true;
    each.extendAt = now + EXTEND_EVERY;
    void store.poll(each.stream, this.#owner, true).then((polled) => {
      each.extending = false;
      if (polled === null || this.#stopped) return;
      if (polled.kind === "other") return this.#lose(each);
      if (polled.dropped > 0) lost(polled.dropped, "backlog");
      each.backlog = polled.backlog;
      each.leaseUntil = now + LEASE;
    });
  }

  #lose(each: Sending): void {
    each.leaseUntil = 0;
    each.batch = null;
    each.backlog = 0;
  }

  /** Returns whether the next batch may be sent now. */
  async #send(each: Sending, batch: WebhookBatch): Promise<boolean> {
    const { client, url, store, delivered } = this.#options;
    const now = performance.now();
    const timeout = Math.min(TIMEOUT, each.leaseUntil - now);
    if (timeout <= 0) {
      this.#lose(each);
      return false;
    }
    const answer = await client.post({ url, body: encodeBatch(batch), timeout, startBy: now + timeout });
    if (typeof answer === "object" && answer.status >= 200 && answer.status < 300) {
      const finished = await this.#finish(each, batch, "delivered");
      if (!finished) return false;
      delivered(batch.events.length);
      this.#works();
      return true;
    }
    const reason = reasonOf(answer);
    await store.failed(each.stream, { at: Date.now(), reason });
    return this.#failed(each, batch, reason);
  }

  async #failed(each: Sending, batch: WebhookBatch, reason: string): Promise<boolean> {
    const { log, failed, lost, firstPause = FIRST_PAUSE, giveUpAfter = GIVE_UP_AFTER } = this.#options;
    failed();
    if (!this.#failing) log.warn("webhook failed, retrying", { reason });
    this.#failing = true;
    const pause = Math.min(LONGEST_PAUSE, firstPause * 2 ** Math.min(each.attempts, 16));
    each.attempts++;
    // Streams do not repeat their requests in step.
    each.dueAt = performance.now() + pause * (0.75 + Math.random() / 2);
    if (Date.now() - batch.at < giveUpAfter) return false;
    const events = batch.events.length;
    if (!(await this.#finish(each, batch, "given up"))) return false;
    lost(events, "undelivered");
    log.error("webhook events given up", { events, reason });
    return false;
  }

  /** Removes a batch; `false` if another server may send it again. */
  async #finish(each: Sending, batch: WebhookBatch, outcome: "delivered" | "given up"): Promise<boolean> {
    const finished = await this.#options.store.finish(each.stream, this.#owner, batch, outcome);
    if (finished === true) each.batch = null;
    else this.#lose(each);
    return finished === true;
  }

  #works(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#options.log.info("webhook delivered again");
  }
}

/** The body of a request. */
export function encodeBatch({ id, at, events }: WebhookBatch): string {
  return JSON.stringify({ id, at, events: events.map(printEvent) });
}

function printEvent({ event, channel, user, at }: WebhookEvent): object {
  return user === null ? { event, channel, at } : { event, channel, user, at };
}

function reasonOf(answer: HookAnswer | HookFailure): string {
  if (typeof answer === "string") return answer;
  const { status } = answer;
  return status >= 300 && status < 400
    ? `answered ${status}, redirects are not followed`
    : `answered ${status}`;
}
