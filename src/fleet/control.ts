import type { Bans } from "../auth/bans.ts";
import type { JsonObject } from "../auth/json-object.ts";
import type { Connection } from "../hub/connection.ts";
import type { Hub } from "../hub/hub.ts";
import type { Identity } from "../hub/identity.ts";
import { incarnationOf } from "../hub/identity.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetAnswer, FleetRequests } from "./fleet-requests.ts";

/** What one server did. */
export interface Done {
  readonly name: string;
  /** Whether it answered in time. */
  readonly ok: boolean;
  /** Connections or memberships that it ended. */
  readonly count: number;
}

/** What all servers did, by name. */
export interface DoneByServers {
  readonly count: number;
  readonly servers: readonly Done[];
}

/** The members to remove from a channel: all of a user, or one by its agent id. */
export interface KickTarget {
  readonly channel: string;
  readonly user?: string;
  readonly agent?: string;
}

/** Ends what a user has at a protocol without an open connection, such as one between two polls. Returns how many. */
export type EndUser = (user: string) => number;

export interface ControlOptions {
  readonly identity: Identity;
  readonly hub: Hub;
  readonly bans: Bans;
  readonly endUser: EndUser;
  /** `null` for a server that is alone. */
  readonly fleet: { readonly fleet: Fleet; readonly requests: FleetRequests } | null;
}

const REASON = "ended by an administrator";

/** Kicks, disconnects and bans, on all servers. Each answers what it did, after at most one second. */
export class Control {
  readonly #options: ControlOptions;

  constructor(options: ControlOptions) {
    this.#options = options;
    // Another server banned the user, and this one did not receive the message.
    options.bans.adopted = (user) => void this.#disconnect(user);
    const requests = options.fleet?.requests;
    requests?.on("disconnect", ({ user }) => (typeof user === "string" ? this.#disconnect(user) : null));
    requests?.on("kick", (target) => this.#kick(asTarget(target)));
    requests?.on("close", ({ id }) => (typeof id === "string" ? this.#close(id) : null));
    requests?.on("listening", ({ id, channel }) =>
      typeof id === "string" && typeof channel === "string"
        ? { count: this.#isListening(id, channel) ? 1 : 0 }
        : null,
    );
    requests?.on("ban", ({ user, ms, version }) =>
      typeof user === "string" && typeof ms === "number" && typeof version === "number"
        ? { count: options.bans.apply({ user, until: ms === 0 ? 0 : Date.now() + ms, version }) ? 1 : 0 }
        : null,
    );
  }

  /** Closes all connections of a user. */
  async disconnect(user: string): Promise<DoneByServers> {
    return this.#everywhere("disconnect", { user }, this.#disconnect(user));
  }

  kick(target: KickTarget): Promise<DoneByServers> {
    return this.#everywhere("kick", { ...target }, this.#kick(target));
  }

  /** Bans a user for `ms`; 0 lifts the ban. `null` if the limit of bans is reached here. */
  async ban(user: string, ms: number): Promise<(DoneByServers & { readonly until: number }) | null> {
    const { bans } = this.#options;
    const until = ms === 0 ? 0 : Date.now() + ms;
    const version = ms === 0 ? bans.lift(user) : bans.add({ user, until });
    if (version === null) return null;
    return { ...(await this.#everywhere("ban", { user, ms, version }, { count: 1 })), until };
  }

  /** Closes a connection, on the server that its id names; `null` if no server has it. */
  async close(id: string): Promise<DoneByServers | null> {
    const { identity, fleet } = this.#options;
    const owner = incarnationOf(id);
    if (fleet === null || identity.isOwn(owner)) {
      const { count } = this.#close(id);
      return count === 0 ? null : this.#sum([{ name: identity.name, ok: true, count }]);
    }
    const server = fleet.fleet.find(owner);
    if (server === null) return null;
    const done = this.#sum((await fleet.requests.ask("close", { id }, [server])).map(doneOf));
    return done.count === 0 && done.servers.every(({ ok }) => ok) ? null : done;
  }

  /** Whether a connection, on whichever server, is in a channel; `null` if its server does not answer within a second. */
  async isListening(id: string, channel: string): Promise<boolean | null> {
    const { identity, fleet } = this.#options;
    const owner = incarnationOf(id);
    if (fleet === null || identity.isOwn(owner)) return this.#isListening(id, channel);
    const server = fleet.fleet.find(owner);
    if (server === null) return false;
    const [answer] = await fleet.requests.ask("listening", { id, channel }, [server]);
    return answer?.ok === true ? doneOf(answer).count > 0 : null;
  }

  async #everywhere(
    kind: string,
    body: JsonObject,
    { count }: { readonly count: number },
  ): Promise<DoneByServers> {
    const { identity, fleet } = this.#options;
    const answers = (await fleet?.requests.ask(kind, body)) ?? [];
    return this.#sum([{ name: identity.name, ok: true, count }, ...answers.map(doneOf)]);
  }

  #sum(servers: readonly Done[]): DoneByServers {
    const sorted = servers.toSorted((one, other) => (one.name < other.name ? -1 : 1));
    return { count: servers.reduce((all, { count }) => all + count, 0), servers: sorted };
  }

  #disconnect(user: string): { readonly count: number } {
    const { hub, endUser } = this.#options;
    const found: Connection[] = [];
    for (const connection of hub.connections.all()) {
      if (connection.users.includes(user)) found.push(connection);
    }
    for (const connection of found) connection.dismiss(1001, REASON);
    return { count: found.length + endUser(user) };
  }

  #isListening(id: string, channel: string): boolean {
    return (this.#options.hub.connections.get(id)?.listening(channel) ?? null) !== null;
  }

  #close(id: string): { readonly count: number } {
    const connection = this.#options.hub.connections.get(id);
    connection?.dismiss(1001, REASON);
    return { count: connection === undefined ? 0 : 1 };
  }

  #kick({ channel, user, agent }: KickTarget): { readonly count: number } {
    const found = this.#options.hub.channels.get(channel);
    const members = [...(found?.members ?? [])].filter((member) =>
      user === undefined ? member.agent === agent : member.user === user,
    );
    for (const member of members) member.kick();
    let count = members.length;
    if (user !== undefined)
      for (const receiver of found?.receivers ?? []) count += receiver.kick?.(user) ?? 0;
    return { count };
  }
}

function doneOf({ server, ok, body }: FleetAnswer): Done {
  return { name: server.name, ok, count: typeof body?.count === "number" ? body.count : 0 };
}

function asTarget({ channel, user, agent }: JsonObject): KickTarget {
  return {
    channel: String(channel),
    ...(typeof user === "string" ? { user } : {}),
    ...(typeof agent === "string" ? { agent } : {}),
  };
}
