import type { Servers } from "../hub/servers.ts";
import { type SharedMembers, STREAMS, type WebhookStore } from "../hub/webhooks/webhook-store.ts";

/** Between two rounds, in ms. */
const ROUND = 2000;

/** How long a server is not known here before it is looked for, in ms: each reports every 2 s. */
const STRANGE_FOR = 20_000;

/** Servers that are remembered. */
const MAX_SERVERS = 1000;

export interface DepartedServersOptions {
  readonly store: Pick<WebhookStore, "write">;
  readonly members: SharedMembers;
  readonly servers: () => Servers;
  /** Whether a server that is not known here lives; `null` if that is unknown. */
  readonly isPresent: (incarnation: string) => Promise<boolean | null>;
  /** Whether this server sends a stream: only then it acts for those that are gone. */
  readonly sends: (stream: number) => boolean;
  /** Events were dropped. */
  readonly dropped: (events: number) => void;
}

/** Removes the members of servers that are gone, so that those who did not come back to another one leave. */
export class DepartedServers {
  readonly #options: DepartedServersOptions;
  readonly #dead = new Set<string>();
  /** Since when servers that are not known were seen (`performance.now()`). */
  readonly #strange = new Map<string, number>();
  #timer: Timer | null = null;
  #running = false;
  #stopped = false;

  constructor(options: DepartedServersOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.servers().observe({
      died: ({ incarnation }) => this.#died(incarnation),
      renewed: (previous) => this.#died(previous),
    });
    this.#timer = setInterval(() => void this.#round(), ROUND);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #died(incarnation: string): void {
    const [oldest] = this.#dead;
    if (this.#dead.size >= MAX_SERVERS && oldest !== undefined) this.#dead.delete(oldest);
    this.#dead.add(incarnation);
    void this.#round();
  }

  async #round(): Promise<void> {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    const { members, sends } = this.#options;
    const found = new Set<string>();
    for (let stream = 0; stream < STREAMS; stream++) {
      if (!sends(stream)) continue;
      for (const server of (await members.serversOf(stream)) ?? []) {
        found.add(server);
        if (await this.#isGone(server)) await this.#remove(stream, server);
      }
    }
    for (const server of this.#strange.keys()) if (!found.has(server)) this.#strange.delete(server);
    this.#running = false;
  }

  async #isGone(server: string): Promise<boolean> {
    const { servers, isPresent } = this.#options;
    if (servers().isLiving(server)) return false;
    if (this.#dead.has(server)) return true;
    const since = this.#strange.get(server);
    if (since === undefined) {
      if (this.#strange.size < MAX_SERVERS) this.#strange.set(server, performance.now());
      return false;
    }
    return performance.now() - since >= STRANGE_FOR && (await isPresent(server)) === false;
  }

  async #remove(stream: number, server: string): Promise<void> {
    const { store, members, dropped } = this.#options;
    for (const channel of (await members.channelsOf(stream, server)) ?? []) {
      if (this.#stopped) return;
      const users = await members.usersOf(channel, server);
      if (users === null) return;
      const at = Date.now();
      const changes = users.map((user) => ({ user, kind: "absent" as const, at }));
      const written = await store.write(server, [{ channel, changes }]);
      if (written === null) return;
      if (written > 0) dropped(written);
    }
  }
}
