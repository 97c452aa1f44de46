import type { Verify } from "../../auth/verifier.ts";
import type { FanoutContext } from "../../hub/fanout.ts";
import type { Hub } from "../../hub/hub.ts";
import { Message } from "../../hub/message.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import { WebSocketClient } from "../../transports/websocket.ts";
import type { Accepted, CreateProtocol, Protocol, SocketRequest, UpgradeRequest } from "../protocol.ts";
import { EventFanouts } from "./event-fanouts.ts";
import { type Credentials, type GroupsContext, GroupsSession } from "./groups-session.ts";

/** AWX's path, with its slash, and ours: a token by cookie or header is accepted on these only. */
const PATHS: ReadonlySet<string> = new Set(["/websocket/", "/groups"]);

/** Shared with Phoenix: a token in the URL asks for groups here, as AWX documents it. */
const SHARED_PATH = "/websocket";

export interface GroupsOptions {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly fanouts: FanoutContext;
  readonly verify: Verify;
  readonly maxSubscriptions: number;
}

/** On unless `groups = false`. */
export const createGroups: CreateProtocol = (deps) =>
  deps.config.groups ? new GroupsProtocol({ ...deps, maxSubscriptions: deps.limits.maxSubscriptions }) : null;

/** Whether a path is of this protocol alone. */
function isGroupsPath(path: string): boolean {
  return PATHS.has(path);
}

/** Event groups, as AWX (Ansible Tower) has them. */
export class GroupsProtocol implements Protocol, GroupsContext {
  readonly name = "groups";
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly verify: Verify;
  readonly maxSubscriptions: number;
  readonly #fanouts: FanoutContext;

  constructor(options: GroupsOptions) {
    this.hub = options.hub;
    this.context = options.context;
    this.verify = options.verify;
    this.maxSubscriptions = options.maxSubscriptions;
    this.#fanouts = options.fanouts;
  }

  opensAt(path: string): boolean {
    return isGroupsPath(path);
  }

  matches({ path, query }: SocketRequest): boolean {
    return isGroupsPath(path) || (path === SHARED_PATH && query.has("token"));
  }

  /** The token is checked on the open socket, as AWX does. */
  accept(request: UpgradeRequest): Accepted {
    const client = new WebSocketClient(this.context, request.id, request.address);
    // A page without subscriptions stays, as long as it answers pings.
    client.idleSince = null;
    client.foreign = !request.sameOrigin;
    client.session = new GroupsSession(this, client, credentialsOf(request));
    return { client, subprotocol: "" };
  }

  open(group: string): EventFanouts {
    const channel = this.hub.open(group);
    for (const receiver of channel.receivers) if (receiver instanceof EventFanouts) return receiver;
    const fanouts = new EventFanouts(channel, this.#fanouts, this.context.stats);
    channel.addReceiver(fanouts);
    return fanouts;
  }

  lastValue(group: string, event: string): string | null {
    const { history } = this.hub;
    if (history === null || !this.hub.channels.get(group)?.history?.lastValue) return null;
    const kept = history.lastValues(group).find((each) => each.event === event);
    return kept === undefined ? null : new Message(event, kept.payload, false).json;
  }

  close(fanouts: EventFanouts): void {
    fanouts.channel.removeReceiver(fanouts);
    this.hub.release(fanouts.channel);
  }
}

function credentialsOf({ path, headers, query, sameOrigin }: UpgradeRequest): Credentials {
  const inUrl = query.get("token");
  if (inUrl || !isGroupsPath(path)) return { token: inUrl || null };
  const inHeader = /^bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  if (inHeader !== undefined) return { token: inHeader };
  const cookies = headers.get("cookie");
  const token = cookieOf(cookies, "token");
  return sameOrigin ? { token } : { token, csrf: cookieOf(cookies, "csrftoken") };
}

/** A cookie's value without its quotes: awxkit sends `"..."`, older Tower pages `%22...%22`. */
function cookieOf(header: string | null, name: string): string | null {
  for (const pair of (header ?? "").split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const bare = pair
      .slice(equals + 1)
      .trim()
      .replace(/^(?:"|%22)|(?:"|%22)$/g, "");
    if (bare !== "") return bare;
  }
  return null;
}
