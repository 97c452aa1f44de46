import type { Admin } from "../../auth/admin.ts";
import type { Audit } from "../../auth/audit.ts";
import type { Bans } from "../../auth/bans.ts";
import type { Mint } from "../../auth/mint.ts";
import type { Revocations } from "../../auth/revocations.ts";
import type { Bus, BusKind, BusState } from "../../bus/bus.ts";
import type { Config } from "../../config/config.ts";
import type { Hub } from "../../hub/hub.ts";
import type { InboundBudget } from "../../hub/inbound-budget.ts";
import type { StatsHistory } from "./stats-history.ts";

/** What the Channelstream protocol adds to the OpenAPI document and the explorer. */
export interface ChannelstreamApi {
  /** OpenAPI 3.1 path items. Calls that must be signed have `security: [{ "signature": [] }]`. */
  readonly paths: Readonly<Record<string, object>>;
  /** A new value for the header `x-channelstream-secret`. */
  sign(): string;
}

/** The parts that API operations use. */
export interface ApiDeps {
  readonly config: Config;
  readonly admin: Admin;
  readonly mint: Mint;
  readonly hub: Hub;
  readonly bus: Pick<Bus, "publish">;
  readonly busState: () => BusState & { readonly kind: BusKind };
  readonly bans: Bans;
  readonly inbound: InboundBudget;
  readonly revocations: Revocations;
  readonly audit: Audit;
  readonly history: StatsHistory;
  /** `null` if Channelstream is disabled. */
  readonly channelstream: ChannelstreamApi | null;
}
