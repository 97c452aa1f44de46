import type { Admin } from "../auth/admin.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Config } from "../config/config.ts";
import type { InboundBudget } from "../hub/inbound-budget.ts";
import type { RefusalLog } from "../hub/refusal-log.ts";
import type { Places, RequestRules } from "../protocols/protocol.ts";
import { checkHost, checkOrigin, corsHeaders, preflightHeaders } from "./admission.ts";
import { readText } from "./body.ts";
import type { ConnectLimiter } from "./connect-limiter.ts";

/** Sent to new clients during shutdown. */
export const SHUTTING_DOWN = new Rejection(503, "shutting_down", "The server is shutting down.");

interface RulesDeps {
  readonly config: Config;
  readonly admin: Admin;
  readonly inbound: InboundBudget;
  readonly refusals: RefusalLog;
}

/** The checks of this server, for protocols that answer requests themselves. */
export function createRequestRules({ config, admin, inbound, refusals }: RulesDeps): RequestRules {
  return {
    check(headers, { address }) {
      const foreign = checkHost(headers, config) ?? checkOrigin(headers, config);
      if (foreign !== null) refusals[foreign.what](foreign.value, foreign.logReason, address);
      return foreign;
    },
    allowsOrigin: (headers) => checkOrigin(headers, config) === null,
    corsHeaders: (headers) => corsHeaders(headers, config),
    preflightHeaders: (headers, methods) => preflightHeaders(headers, config, methods),
    readText: (request) => readText(request, config.limits.maxBody, inbound),
    requireAdministrator(request, peer) {
      const found = admin.requireAdmin(request, peer);
      return found.ok ? null : found;
    },
  };
}

/** Slots of `limiter`; none while the server shuts down. */
export function createPlaces(limiter: ConnectLimiter, isClosing: () => boolean): Places {
  return {
    admit: (peer) => (isClosing() ? SHUTTING_DOWN : limiter.admit(peer)),
    mayBegin: (peer) => (isClosing() ? SHUTTING_DOWN : limiter.mayBegin(peer)),
    take: (peer) => (isClosing() ? SHUTTING_DOWN : limiter.take(peer)),
    release: (peer) => limiter.release(peer),
  };
}
