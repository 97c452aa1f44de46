import type { Peer } from "../../auth/peer.ts";
import type { Rejection } from "../../auth/rejection.ts";
import { count, type Stats } from "../../hub/stats.ts";
import type { Places, ProtocolRoute, RequestForwarding, RequestRules } from "../protocol.ts";
import type { LongPoll, SessionPlaces } from "./phoenix-longpoll.ts";

/** Seconds that Bun lets a poll wait: longer than a poll takes. */
const POLL_TIMEOUT_SECS = 30;

const METHODS = "GET, POST, OPTIONS";

/** Long polling as a route. phoenix.js ends polling on any status but 200: it gets rejections in the body. */
export function createLongPollRoute(
  longPoll: LongPoll,
  rules: RequestRules,
  forwarding: RequestForwarding,
): ProtocolRoute {
  return {
    checksItself: true,
    handle({ request, path, query, peer: sender, extend }) {
      const { headers } = request;
      const peer = forwarding.clientOf(request, sender);
      const cors = rules.corsHeaders(headers);
      if (rules.check(headers, peer) !== null) return longPoll.forbid(cors);
      if (request.method === "OPTIONS") {
        return new Response(null, { headers: rules.preflightHeaders(headers, METHODS) });
      }
      extend(POLL_TIMEOUT_SECS);
      const elsewhere = longPoll.serverOf(request, query);
      const forwarded = elsewhere === null ? null : forwarding.forward(request, path, elsewhere, peer);
      const handle = () => longPoll.handle(request, query, peer, cors);
      // A server that cannot be reached has lost the session.
      return forwarded === null ? handle() : forwarded.catch(handle);
    },
  };
}

/** Places of long-poll sessions. Counts rejections, which are answered with status 200. */
export function countedPlaces(places: Places, stats: Stats): SessionPlaces {
  const isGranted = (rejection: Rejection | null): boolean => {
    if (rejection !== null) count(stats.refused, `http_${rejection.status}`);
    return rejection === null;
  };
  return {
    mayBegin: (peer: Peer) => isGranted(places.mayBegin(peer)),
    take: (peer: Peer) => isGranted(places.take(peer)),
    release: (peer: Peer) => places.release(peer),
  };
}
