import type { Conflatable, ConflatedClients } from "./conflated-clients.ts";
import { type Frame, HeldFrame, LagQueue, type LagSource, type Waiting } from "./lag-queue.ts";

/** A client that has read what it was sent within this time keeps up, in ms. */
const QUICK = 1_000;

/** A client that keeps up is probed at most once in this time, and lags if it has not answered within this one, in ms. */
const PROBE_INTERVAL = 1_000;
const PROBE_TIMEOUT = 800;

/**
 * How long a client has to keep up with the newest messages before it gets every message again, in ms. Doubled each time that
 * it lags again within `PROBATION`.
 */
const FIRST_TRIAL = 500;
const MAX_TRIAL = 64_000;

/** How long a client is watched after it lagged, in ms. */
const PROBATION = 10_000;

/** A client's transport. */
export interface ConflatedTransport {
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
  /** Bytes that wait in this process until the client reads. */
  waiting(): number;
  /** Since when bytes wait without a break (`performance.now()`), if the transport knows. */
  readonly waitingSince: number | null | undefined;
  /** How long bytes may wait before the client lags, in ms. */
  readonly lagAfter: number;
  send(frame: Frame): void;
  /**
   * Calls `ConflatedClient.read` with `id` when the client has read everything sent before. Returns false where the transport
   * cannot: then the client has read it when nothing waits.
   */
  fence(id: number): boolean;
  cutOff(reason: string): void;
}

/** A fanout that sends to this client by its topic, or, while it lags, to its queue. */
export interface ConflatedFanout extends LagSource {
  /** Stops sending by the topic. */
  detach(client: ConflatedClient): void;
  /** Sends by the topic again. */
  attach(client: ConflatedClient): void;
}

/**
 * A client in channels with `slow = "latest"`. While it keeps up it is subscribed to topics and nothing is done for it. When it
 * lags, messages wait in a queue in which newer ones replace older ones of the same event; it is sent what waits whenever it
 * has read what it was sent before, wherever that was buffered on its way: proxies and kernels hold megabytes.
 */
export class ConflatedClient implements Conflatable {
  readonly #clients: ConflatedClients;
  readonly transport: ConflatedTransport;
  readonly #fanouts = new Set<ConflatedFanout>();
  /** `null` while it keeps up. */
  #queue: LagQueue | null = null;
  /** Taken from the queue and not sent yet, the last one first. */
  #sending: Waiting[] = [];
  /** The fence that the client has not reached yet; 0: none. */
  #fence = 0;
  #lastFence = 0;
  /** When sending of what ends with the fence began. */
  #sentAt = 0;
  /** Whether the fence is reached when nothing waits in the transport. */
  #polled = false;
  /** The backlog at the last check, since when it is not zero, and when the client last read. */
  #backlog = 0;
  #backlogSince: number | null = null;
  #progressAt = 0;
  /** Since when it has read in time; `null` if it did not the last time. */
  #quickSince: number | null = null;
  #trial = FIRST_TRIAL;
  #watchedUntil = 0;

  constructor(clients: ConflatedClients, transport: ConflatedTransport) {
    this.#clients = clients;
    this.transport = transport;
  }

  get lagging(): boolean {
    return this.#queue !== null;
  }

  /** Bytes of frames that wait for it here. */
  get held(): number {
    let bytes = this.#queue?.bytes ?? 0;
    for (const { held } of this.#sending) bytes += held.frame.length;
    return bytes;
  }

  /** Adds a fanout, which then calls `put` if the client lags. */
  add(fanout: ConflatedFanout): void {
    if (this.#fanouts.size === 0) this.#clients.add(this);
    this.#fanouts.add(fanout);
  }

  /** Removes a fanout, with what waits of it. */
  remove(fanout: ConflatedFanout): void {
    this.#fanouts.delete(fanout);
    for (const { held } of this.#queue?.takeFrom(fanout) ?? []) held.release();
    if (this.#sending.length > 0) {
      for (const { source, held } of this.#sending) if (source === fanout) held.release();
      this.#sending = this.#sending.filter(({ source }) => source !== fanout);
    }
    if (this.#fanouts.size > 0) return;
    this.#clients.remove(this);
    this.#queue = null;
    this.#fence = 0;
    this.#watchedUntil = 0;
  }

  /** Sends what waits of a fanout, which it leaves for another one of the same channel. */
  flush(fanout: ConflatedFanout): void {
    if (this.#queue === null) return;
    this.#sendAll();
    for (const waiting of this.#queue.takeFrom(fanout)) this.#send(waiting);
  }

  /**
   * Queues a frame while the client lags. A newer frame with the same key replaces it; `null`: never.
   * @returns the number of messages left out for it
   */
  put(fanout: ConflatedFanout, key: string | null, held: HeldFrame): number {
    const queue = this.#queue;
    if (queue === null) return 0;
    const leftOut = queue.put(fanout, key, held);
    this.#clients.leftOut += leftOut;
    if (queue.overfull) this.cutOff();
    else if (this.#fence === 0 && this.#sending.length === 0) this.#sendNewest(performance.now());
    return leftOut;
  }

  /** Queues a frame that is for this client alone. */
  putOwn(fanout: ConflatedFanout, frame: Frame): void {
    this.put(fanout, null, new HeldFrame(frame, this.#clients.held));
  }

  /**
   * To be called now and then while messages are sent by topic. Asks the client, if it keeps up, how much it has read: proxies
   * and kernels may buffer megabytes before a backlog can be noticed here.
   */
  probe(now: number): void {
    if (this.#queue !== null || this.#fence !== 0 || now - this.#sentAt < PROBE_INTERVAL) return;
    this.#sentAt = now;
    this.#sendFence();
    if (this.#polled) this.#fence = 0;
    else this.#clients.probed(this);
  }

  checkProbe(now: number): boolean {
    if (this.#queue !== null || this.#fence === 0) return false;
    if (now - this.#sentAt < PROBE_TIMEOUT) return true;
    this.#lag(now);
    return false;
  }

  /** The client has read everything sent before a fence. */
  read(id: number, now = performance.now()): void {
    if (id !== this.#fence) return;
    this.#fence = 0;
    this.#clients.answered(this);
    if (now - this.#sentAt > QUICK) this.#quickSince = null;
    else this.#quickSince ??= now;
    this.#progressAt = now;
    if (this.#queue !== null) this.#sendNewest(now);
  }

  /** The transport's backlog was sent. */
  drained(): void {
    if (this.#sending.length > 0) this.#pump(performance.now());
  }

  check(now: number): void {
    const backlog = this.transport.waiting();
    if (this.#queue === null) return this.#checkBacklog(backlog, now);
    // Replies to a client that sends make it larger.
    if (backlog < this.#backlog) this.#progressAt = now;
    this.#backlog = backlog;
    if (this.#sending.length > 0) this.#pump(now);
    if (this.#fence !== 0 && this.#polled && backlog === 0) this.read(this.#fence, now);
    const isWaiting = this.#fence !== 0 || this.#sending.length > 0;
    if (isWaiting && now - this.#progressAt >= this.#clients.limits.idleTimeout) this.cutOff();
    else if (!isWaiting && now - this.#progressAt >= PROBATION) this.#keepUp(now);
  }

  cutOff(): void {
    this.transport.cutOff("slow");
  }

  /** While it keeps up. After it lagged, it is asked all the time how long it takes to read what it is sent. */
  #checkBacklog(backlog: number, now: number): void {
    const { waitingSince } = this.transport;
    this.#backlogSince =
      waitingSince === undefined ? (backlog === 0 ? null : (this.#backlogSince ?? now)) : waitingSince;
    const waited = this.#backlogSince === null ? 0 : now - this.#backlogSince;
    if (waited >= this.transport.lagAfter || backlog >= this.#clients.maxBacklog) return this.#lag(now);
    if (this.#watchedUntil === 0) return;
    if (this.#fence !== 0 && this.#polled && backlog === 0) this.read(this.#fence, now);
    if (this.#fence !== 0 && now - this.#sentAt > QUICK) return this.#lag(now);
    if (now >= this.#watchedUntil) {
      this.#trial = FIRST_TRIAL;
      this.#stopWatching();
    } else if (this.#fence === 0) {
      this.#sentAt = now;
      this.#sendFence();
    }
  }

  #stopWatching(): void {
    this.#watchedUntil = 0;
    this.#fence = 0;
    this.#clients.unwatch(this);
  }

  #lag(now: number): void {
    if (this.#watchedUntil !== 0) this.#trial = Math.min(this.#trial * 2, MAX_TRIAL);
    this.#watchedUntil = 0;
    this.#queue = new LagQueue(this.#clients.limits.maxBufferedPerClient);
    this.#backlog = this.transport.waiting();
    this.#backlogSince = null;
    this.#progressAt = now;
    this.#quickSince = null;
    this.#clients.watch(this);
    this.#sentAt = now;
    for (const fanout of this.#fanouts) fanout.detach(this);
    this.#sendFence();
  }

  /** Back to the topics. What waits was sent. */
  #keepUp(now: number): void {
    this.#queue = null;
    this.#watchedUntil = now + PROBATION;
    for (const fanout of this.#fanouts) fanout.attach(this);
  }

  /** Everything sent was read: sends what waits. */
  #sendNewest(now: number): void {
    if (this.#queue === null) return;
    const { frames, skipped, bytes } = this.#queue.take();
    this.#sending = frames.reverse();
    const quickFor = this.#quickSince === null ? -1 : now - this.#quickSince;
    const keepsUp = quickFor >= (skipped === 0 ? 0 : this.#trial) && bytes <= this.#clients.maxBacklog;
    if (keepsUp) {
      this.#sendAll();
      this.#keepUp(now);
    } else if (frames.length > 0) {
      this.#sentAt = now;
      this.#pump(now);
    }
  }

  /** Sends without filling the transport's backlog, then the fence. */
  #pump(now: number): void {
    const { maxBacklog } = this.#clients;
    while (this.#sending.length > 0 && this.transport.waiting() < maxBacklog) {
      const next = this.#sending.pop();
      if (next !== undefined) this.#send(next);
      this.#progressAt = now;
    }
    if (this.#sending.length === 0 && this.#fence === 0 && this.#queue !== null) this.#sendFence();
  }

  #sendAll(): void {
    for (let next = this.#sending.pop(); next !== undefined; next = this.#sending.pop()) this.#send(next);
  }

  #send({ held }: Waiting): void {
    this.transport.send(held.frame);
    held.release();
  }

  #sendFence(): void {
    this.#fence = ++this.#lastFence;
    this.#polled = !this.transport.fence(this.#fence);
  }
}
