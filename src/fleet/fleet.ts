import type { JsonObject } from "../auth/json-object.ts";
import type { BusState } from "../bus/bus.ts";
import type { LivenessStore } from "../bus/liveness-store.ts";
import type { Positions } from "../hub/history/positions.ts";
import type { Identity } from "../hub/identity.ts";
import type { OtherServer, Servers, ServersObserver } from "../hub/servers.ts";
import type { Log } from "../log.ts";
import type { FleetMessages } from "./fleet-messages.ts";
import { decodeReport, encodeReport, type NodeFigures, type NodeReport } from "./node-report.ts";

/** ms between two reports, and for which the key of a server lives. */
const REPORT_EVERY = 2000;
const KEY_TTL = 10_000;

/** ms of ticks without a report after which a server without a key is dead. */
const DEAD_AFTER = 10_000;

/** ms between two ticks from which this process counts as suspended. */
const SUSPENDED_AFTER = 2000;

/** The most servers that are known, living or dead. */
const MAX_SERVERS = 1000;

/** Another server that is not declared dead. */
export interface Peer extends OtherServer {
  readonly report: NodeReport;
  /** ms of this server's ticks since the last report. */
  readonly silent: number;
  /** When it was declared dead here (`performance.now()`); `null` while it lives. */
  readonly diedAt: number | null;
  /** The number here of the newest message that it had received when it reported last; `null` while unknown. */
  readonly received: number | null;
  /** Messages that this server had received and that one had not, when it reported last; 0 while unknown. */
  readonly lag: number;
}

interface KnownPeer extends Peer {
  name: string;
  previous: readonly string[];
  report: NodeReport;
  silent: number;
  diedAt: number | null;
  received: number | null;
  lag: number;
  /** Whether its key is being checked. */
  checking: boolean;
}

export interface FleetOptions {
  readonly identity: Identity;
  readonly messages: FleetMessages;
  readonly store: LivenessStore;
  readonly positions: Positions;
  readonly busState: () => BusState;
  readonly figures: () => NodeFigures;
  /** The newest statistics of this server. */
  readonly stats: () => JsonObject;
  /** ms between two calls of `tick`. */
  readonly tickMs: number;
  readonly log: Log;
}

/**
 * The servers on one Redis. Each reports every 2 s. A server is declared dead when its key is absent and it did not report
 * for 10 s, in ticks of this server while it was subscribed; they start again when this server itself was away.
 */
export class Fleet implements Servers {
  readonly isAlone = false;
  readonly #options: FleetOptions;
  readonly #peers = new Map<string, KnownPeer>();
  /** Servers that reported, and whose key is being looked for. */
  readonly #candidates = new Set<string>();
  /** Declared dead here, the longest ago first. */
  readonly #dead = new Map<string, KnownPeer>();
  readonly #observers: ServersObserver[] = [];
  #seq = 0;
  #lastTick: number | null = null;
  /** ms until the next report. */
  #reportIn = 0;
  #reporting = false;
  /** Whether this server was not subscribed at the last tick. */
  #away = true;
  #gaps = 0;
  #stopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    options.messages.on("node", (body) => this.#received(body));
  }

  get incarnation(): string {
    return this.#options.identity.incarnation;
  }

  get identity(): Identity {
    return this.#options.identity;
  }

  get others(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Servers that were declared dead, the longest ago first. */
  get dead(): Iterable<Peer> {
    return this.#dead.values();
  }

  isLiving(incarnation: string): boolean {
    return incarnation === this.incarnation || this.#peers.has(incarnation);
  }

  /** The other living server that has an incarnation, or had it before; `null` if there is none. */
  find(incarnation: string): Peer | null {
    const peer = this.#peers.get(incarnation);
    if (peer !== undefined) return peer;
    for (const each of this.#peers.values()) if (each.previous.includes(incarnation)) return each;
    return null;
  }

  observe(observer: ServersObserver): void {
    this.#observers.push(observer);
  }

  start(): void {
    this.#options.store.onOpen(() => this.#reportSoon());
  }

  /** To be called every `tickMs`. @param now `performance.now()` */
  tick(now: number): void {
    const { busState, tickMs } = this.#options;
    const suspended = this.#lastTick !== null && now - this.#lastTick > SUSPENDED_AFTER;
    this.#lastTick = now;
    const { live, gaps } = busState();
    if (!live) {
      this.#away = true;
      return;
    }
    if (this.#away || suspended || gaps !== this.#gaps) {
      this.#away = false;
      this.#gaps = gaps;
      for (const peer of this.#peers.values()) peer.silent = 0;
      this.#reportSoon();
    }
    this.#reportIn -= tickMs;
    if (this.#reportIn <= 0) void this.#report();
    for (const peer of this.#peers.values()) {
      peer.silent += tickMs;
      if (peer.silent >= DEAD_AFTER && !peer.checking) void this.#check(peer);
    }
  }

  /** Reports at the next tick. */
  #reportSoon(): void {
    this.#reportIn = 0;
  }

  /** Tells the others that this server stops; to be called before the bus is stopped. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const { store, messages } = this.#options;
    messages.publish("node", this.#encode(true));
    await store.remove(this.incarnation);
  }

  async #report(): Promise<void> {
    this.#reportIn = REPORT_EVERY;
    if (this.#reporting) return;
    this.#reporting = true;
    const { store, messages, identity, log } = this.#options;
    const dead = await store.renew(identity.incarnation, KEY_TTL);
    this.#reporting = false;
    if (this.#stopped) return;
    if (dead) {
      const previous = identity.incarnation;
      identity.renew();
      log.warn("other servers declared this one dead, it continues under a new incarnation", {
        previous,
        incarnation: identity.incarnation,
      });
      for (const observer of this.#observers) observer.renewed?.(previous, identity.incarnation);
      this.#reportSoon();
      return;
    }
    // The key exists before the first report: the others look for it.
    messages.publish("node", this.#encode(false));
  }

  #encode(stopped: boolean): string {
    const { identity, figures, stats } = this.#options;
    const { incarnation, previous, name } = identity;
    const seq = ++this.#seq;
    return encodeReport({ ...figures(), incarnation, previous, name, seq, stopped, stats: stats() });
  }

  #received(body: Buffer): void {
    const report = decodeReport(body);
    if (report === null) return;
    const { incarnation } = report;
    if (this.#options.identity.isOwn(incarnation)) return;
    const peer = this.#peers.get(incarnation);
    if (peer !== undefined) this.#update(peer, report);
    else if (this.#dead.has(incarnation)) void this.#declareAgain(incarnation);
    else if (!report.stopped) void this.#discover(report);
  }

  #update(peer: KnownPeer, report: NodeReport): void {
    if (report.seq <= peer.report.seq) return;
    const { log } = this.#options;
    if (report.stopped) log.info("server stopped", { server: report.name, incarnation: report.incarnation });
    peer.report = report;
    peer.silent = 0;
    const { received, lag } = this.#lagOf(report);
    peer.received = received;
    peer.lag = lag;
  }

  /** Messages and reports arrive in one order, so the numbers can be compared. */
  #lagOf({ position }: NodeReport): { received: number | null; lag: number } {
    const { positions } = this.#options;
    const received = position === null ? null : positions.numberOf(position);
    return { received, lag: received === null ? 0 : Math.max(0, positions.seq - received) };
  }

  /** Adds a server that reported for the first time, if its key exists: a repetition of an old report has none. */
  async #discover(report: NodeReport): Promise<void> {
    const { incarnation, name, previous, version } = report;
    if (this.#candidates.has(incarnation) || this.#peers.size + this.#candidates.size >= MAX_SERVERS) return;
    this.#candidates.add(incarnation);
    const present = await this.#options.store.isPresent(incarnation);
    this.#candidates.delete(incarnation);
    if (present !== true || this.#stopped || this.#dead.has(incarnation)) return;
    const peer: KnownPeer = {
      ...{ incarnation, name, previous, report, silent: 0, diedAt: null, checking: false },
      ...this.#lagOf(report),
    };
    this.#peers.set(incarnation, peer);
    this.#options.log.info("server joined", { server: name, incarnation, version });
    // It does not know this server yet.
    this.#reportSoon();
    for (const observer of this.#observers) observer.joined?.(peer);
  }

  /** Declares a server dead if its key is absent. */
  async #check(peer: KnownPeer): Promise<void> {
    const { store, log } = this.#options;
    const { incarnation, name } = peer;
    const isSilent = (): boolean => peer.silent >= DEAD_AFTER && !this.#away && !this.#stopped;
    peer.checking = true;
    const present = await store.isPresent(incarnation);
    const won = present === false && isSilent() ? await store.declareDead(incarnation) : null;
    peer.checking = false;
    if (won === null || this.#stopped) return;
    this.#peers.delete(incarnation);
    this.#remember(peer);
    const stopped = peer.report.stopped;
    if (stopped) log.info("stopped server removed", { server: name, incarnation });
    else log.warn("server declared dead", { server: name, incarnation });
    for (const observer of this.#observers) observer.died?.(peer, won);
  }

  #remember(peer: KnownPeer): void {
    peer.diedAt = performance.now();
    this.#dead.set(peer.incarnation, peer);
    const [oldest] = this.#dead.keys();
    if (this.#dead.size > MAX_SERVERS && oldest !== undefined) this.#dead.delete(oldest);
  }

  /** A server that is declared dead reports: it must find that, also when Redis lost the key. */
  async #declareAgain(incarnation: string): Promise<void> {
    if (this.#candidates.has(incarnation)) return;
    this.#candidates.add(incarnation);
    await this.#options.store.declareDead(incarnation);
    this.#candidates.delete(incarnation);
  }
}
