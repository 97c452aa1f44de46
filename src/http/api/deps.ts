import type { Admin } from "../../auth/admin.ts";
import type { Audit } from "../../auth/audit.ts";
import type { Bans } from "../../auth/bans.ts";
import type { Mint } from "../../auth/mint.ts";
import type { RecentActs } from "../../auth/recent-acts.ts";
import type { Revocations } from "../../auth/revocations.ts";
import type { BusKind, BusState } from "../../bus/bus.ts";
import type { BusFigures } from "../../bus/bus-figures.ts";
import type { Config } from "../../config/config.ts";
import type { Control } from "../../fleet/control.ts";
import type { Publishing } from "../../fleet/publishing.ts";
import type { ServerList } from "../../fleet/server-list.ts";
import type { Webhooks } from "../../hooks/webhooks.ts";
import type { Hub } from "../../hub/hub.ts";
import type { InboundBudget } from "../../hub/inbound-budget.ts";
import type { ChannelSeries } from "./channel-series.ts";
import type { ListServers } from "./fleet-lists.ts";
import type { FleetStats } from "./fleet-stats.ts";
import type { ProcessEntry } from "./process-schema.ts";
import type { StatsHistory } from "./stats-history.ts";

/** The result of a reload; after a failure the server goes on serving. */
export type ReloadResult =
  | { readonly ok: true; readonly pid: number }
  | { readonly ok: false; readonly reason: string };

/** The parts that API operations use. */
export interface ApiDeps {
  readonly config: Config;
  readonly admin: Admin;
  readonly mint: Mint;
  readonly hub: Hub;
  readonly publishing: Publishing;
  readonly busState: () => BusState & { readonly kind: BusKind };
  readonly bans: Bans;
  readonly control: Control;
  readonly lists: ListServers;
  readonly inbound: InboundBudget;
  readonly revocations: Revocations;
  readonly audit: Audit;
  readonly acts: RecentActs;
  /** What this process shows of itself. */
  readonly process: () => ProcessEntry;
  /** `null` where the bus has none. */
  readonly busFigures: Pick<BusFigures, "read"> | null;
  readonly history: StatsHistory;
  readonly servers: ServerList;
  readonly fleetStats: FleetStats;
  readonly channelSeries: Pick<ChannelSeries, "rows">;
  /** `null` where none is configured. */
  readonly webhooks: Pick<Webhooks, "status"> | null;
  /** Starts a successor. Resolves when it serves, or has failed. */
  readonly reload: () => Promise<ReloadResult>;
}
