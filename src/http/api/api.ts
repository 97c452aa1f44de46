import { resultOf } from "../../auth/audit.ts";
import type { Peer } from "../../auth/peer.ts";
import { type Principal, principalName } from "../../auth/principal.ts";
import { type Asset, createAsset, writtenDeclaration } from "../assets.ts";
import { reject } from "../json-response.ts";
import type { Handler, Route } from "../route.ts";
import { accessOperations } from "./access-operations.ts";
import { auditList, auditOperations } from "./audit-operations.ts";
import { channelList, channelOperations, memberList } from "./channel-operations.ts";
import { ChannelOrder } from "./channel-order.ts";
import { channelstreamOperations, channelstreamPaths } from "./channelstream-operations.ts";
import { connectionList, connectionOperations } from "./connection-operations.ts";
import { declare } from "./declaration.ts";
import type { ApiDeps } from "./deps.ts";
import type { AnyList } from "./fleet-lists.ts";
import { historyOperations } from "./history-operations.ts";
import { inspectOperations } from "./inspect-operations.ts";
import { describeApi } from "./openapi.ts";
import type { AuditTrail, Operation } from "./operation.ts";
import { processList, processOperations } from "./process-operations.ts";
import { publishOperations } from "./publish-operations.ts";
import { reloadOperations } from "./reload-operations.ts";
import { ADMIN_ONLY, abilityMissing } from "./scope-rejections.ts";
import { seriesOperations, seriesRequests } from "./series-operations.ts";
import { serverOperations } from "./server-operations.ts";
import { statsOperations } from "./stats-operations.ts";
import { tokenOperations } from "./token-operations.ts";
import { webhookOperations } from "./webhook-operations.ts";

export interface Api {
  /** The route of a path below `base_path` (encoded); `undefined` if there is none. */
  find(path: string): Route | undefined;
  /** What other servers ask for. */
  readonly lists: readonly AnyList[];
  /** `/openapi.json`. */
  description(): Asset;
  /** `/channel.d.ts`. */
  declaration(): Asset;
}

interface PathEntry {
  readonly pattern: RegExp;
  readonly operations: Operation[];
}

/** Creates the API: everything that the admin page does. */
export function createApi(deps: ApiDeps): Api {
  const order = new ChannelOrder(deps.config.channels);
  const channels = channelList(deps, order);
  const members = memberList(deps);
  const connections = connectionList(deps);
  const acts = auditList(deps);
  const processes = processList(deps);
  const operations = [
    ...statsOperations(deps),
    ...seriesOperations(deps),
    ...webhookOperations(deps),
    ...serverOperations(deps),
    ...processOperations(deps, processes),
    ...channelOperations(order, channels, members),
    ...historyOperations(deps),
    ...inspectOperations(deps),
    ...connectionOperations(deps, connections),
    ...publishOperations(deps),
    ...accessOperations(deps),
    ...auditOperations(acts),
    ...tokenOperations(deps),
    ...reloadOperations(deps),
    ...channelstreamOperations(deps),
  ];
  const paths = new Map<string, PathEntry>();
  for (const operation of operations) {
    const { path } = operation;
    const pattern = new RegExp(`^${path.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);
    const entry = paths.get(path) ?? { pattern, operations: [] };
    entry.operations.push(operation);
    paths.set(path, entry);
  }
  let description: Asset | null = null;
  let declaration: Asset | null = null;

  const record = (act: string, principal: Principal, peer: Peer, trail: AuditTrail, status: number): void =>
    deps.audit({
      act,
      who: principalName(principal),
      from: peer.address,
      what: trail.what,
      result: resultOf(status),
    });

  const handlerOf =
    (operation: Operation, path: Readonly<Record<string, string>>): Handler =>
    async (request, peer) => {
      const authenticated = deps.admin.authenticate(request, peer);
      if (!authenticated.ok) return reject(authenticated);
      const { principal } = authenticated;
      const { needs, act } = operation;
      const trail: AuditTrail = { what: {} };
      if (principal.kind === "key" && (needs === "admin" || !principal.key.can.includes(needs))) {
        if (act !== undefined) record(act, principal, peer, trail, 403);
        return reject(needs === "admin" ? ADMIN_ONLY : abilityMissing(needs));
      }
      const { maxBody } = deps.config.limits;
      let status = 500;
      try {
        const response = await operation.handle(request, path, principal, peer, maxBody, deps.inbound, trail);
        ({ status } = response);
        return response;
      } finally {
        if (act !== undefined) record(act, principal, peer, trail, status);
      }
    };

  return {
    lists: [channels, members, connections, acts, processes, ...seriesRequests(deps)],
    find(path) {
      if (!path.startsWith("/api/")) return undefined;
      for (const { pattern, operations: here } of paths.values()) {
        const match = pattern.exec(path);
        if (match === null) continue;
        const parts = decoded(match.groups ?? {});
        if (parts === null) return undefined;
        const handlers = here.map((operation) => [operation.method, handlerOf(operation, parts)] as const);
        return Object.fromEntries(handlers);
      }
      return undefined;
    },
    description: () => {
      const { config } = deps;
      description ??= createAsset(
        JSON.stringify(describeApi(operations, channelstreamPaths(config), config.basePath)),
        "application/json;charset=utf-8",
      );
      return description;
    },
    declaration: () => {
      declaration ??= createAsset(declare(writtenDeclaration, operations), "text/plain;charset=utf-8");
      return declaration;
    },
  };
}

function decoded(groups: Readonly<Record<string, string>>): Record<string, string> | null {
  try {
    return Object.fromEntries(Object.entries(groups).map(([name, text]) => [name, decodeURIComponent(text)]));
  } catch {
    return null;
  }
}
