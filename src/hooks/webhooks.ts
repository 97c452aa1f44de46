import type { Servers } from "../hub/servers.ts";
import { MembershipTracker } from "../hub/webhooks/membership-tracker.ts";
import type { WebhookStatus, WebhookStore } from "../hub/webhooks/webhook-store.ts";
import { atMostOncePer, type Log } from "../log.ts";
import { DepartedServers } from "./departed-servers.ts";
import type { HookClient } from "./hook-client.ts";
import { type LostReason, WebhookSender } from "./webhook-sender.ts";

/** Minimum time between two warnings about lost events, in ms. */
const WARN_INTERVAL = 60_000;

export interface WebhooksOptions {
  readonly store: WebhookStore;
  readonly client: Pick<HookClient, "post">;
  readonly url: string;
  /** Called first by `start`. */
  readonly servers: () => Servers;
  /** Whether a server that is not known here lives; `null` if that is unknown. */
  readonly isPresent: (incarnation: string) => Promise<boolean | null>;
  readonly log: Log;
}

/** For metrics. */
export interface WebhookFigures {
  /** Events that the application accepted from this server. */
  readonly delivered: number;
  /** Requests that failed. */
  readonly failed: number;
  readonly lost: Readonly<Record<LostReason, number>>;
  /** Events that wait in the streams that this server sends. */
  readonly backlog: number;
}

/** Sends the application events about channels and their members, each event once for all servers. */
export class Webhooks {
  /** To be notified by the hub. */
  readonly tracker: MembershipTracker;
  readonly #options: WebhooksOptions;
  readonly #sender: WebhookSender;
  readonly #departed: DepartedServers | null;
  #delivered = 0;
  #failed = 0;
  readonly #lost: Record<LostReason, number> = { backlog: 0, undelivered: 0, unwritten: 0 };
  readonly #warnLost: () => void;

  constructor(options: WebhooksOptions) {
    const { store, client, url, servers, isPresent, log } = options;
    this.#options = options;
    const lost = (events: number, reason: LostReason): void => this.#count(events, reason);
    this.tracker = new MembershipTracker({ store, incarnation: () => servers().incarnation, lost });
    this.#sender = new WebhookSender({
      ...{ store, client, url, log, lost },
      delivered: (events) => {
        this.#delivered += events;
      },
      failed: () => {
        this.#failed++;
      },
    });
    this.#departed =
      store.shared === null
        ? null
        : new DepartedServers({
            ...{ store, members: store.shared, servers, isPresent },
            sends: (stream) => this.#sender.sends(stream),
            dropped: (events) => lost(events, "backlog"),
          });
    this.#warnLost = atMostOncePer(WARN_INTERVAL, () => log.warn("webhook events lost", { ...this.#lost }));
  }

  get figures(): WebhookFigures {
    return {
      delivered: this.#delivered,
      failed: this.#failed,
      lost: this.#lost,
      backlog: this.#sender.backlog,
    };
  }

  start(): void {
    const { store, servers } = this.#options;
    servers().observe({ renewed: () => this.tracker.repeat() });
    this.#departed?.start();
    store.start(() => this.tracker.opened());
    this.#sender.start();
  }

  /** `null` while Redis does not answer. */
  status(): Promise<WebhookStatus | null> {
    return this.#options.store.status();
  }

  /** To be called when the server begins to stop: another server sends from now on, if there is one. */
  async handOver(): Promise<void> {
    if (this.#options.servers().others.size > 0) await this.#sender.stop();
  }

  /** Writes what waits, and gives the leases back. */
  async stop(): Promise<void> {
    this.#departed?.stop();
    await this.tracker.stop();
    await this.#sender.stop();
    this.#options.store.stop();
  }

  #count(events: number, reason: LostReason): void {
    this.#lost[reason] += events;
    this.#warnLost();
  }
}
