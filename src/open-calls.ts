import type { Bus, SubscribedFamily } from "./bus/bus.ts";
import { openCallQueues } from "./bus/open-bus.ts";
import type { Config, Limits } from "./config/config.ts";
import { CalledHooks } from "./hooks/called-hooks.ts";
import { HookClient } from "./hooks/hook-client.ts";
import { callTargets } from "./hub/calls/call-rules.ts";
import { Calls } from "./hub/calls/calls.ts";
import { PublishedCalls } from "./hub/calls/published-calls.ts";
import { QueuedCalls } from "./hub/calls/queued-calls.ts";
import type { Identity } from "./hub/identity.ts";
import type { Stats } from "./hub/stats.ts";
import type { Log } from "./log.ts";

export interface CallParts {
  readonly config: Config;
  readonly limits: Limits;
  readonly bus: Bus;
  readonly identity: Identity;
  readonly stats: Stats;
  readonly log: Log;
}

/** Calls, with what they need on the bus. */
export interface OpenedCalls {
  readonly calls: Calls;
  readonly families: readonly SubscribedFamily[];
  stop(): void;
}

/** Pushes that a backend answers; `null` where no channel has any. */
export function openCalls({ config, limits, bus, identity, stats, log }: CallParts): OpenedCalls | null {
  const targets = callTargets(config.channels);
  if (targets.size === 0) return null;
  const queues = targets.has("queue") ? openCallQueues(config, bus, log) : null;
  const backends = {
    redis: new PublishedCalls(bus),
    queue: queues === null ? null : new QueuedCalls(bus, queues),
    // A client of its own: calls must not hold back the requests of other hooks.
    http: targets.has("http")
      ? new CalledHooks(new HookClient(config.hookSecret ?? ""), limits.maxPayload)
      : null,
  };
  return {
    calls: new Calls({ ...limits, backends, identity, stats }),
    families: targets.has("redis") || targets.has("queue") ? ["reply"] : [],
    stop: () => queues?.stop?.(),
  };
}
