import { type Peer, plainAddress } from "../auth/peer.ts";
import type { Config } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";

/** Headers that proxies add. */
const FORWARDING = [
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-real-ip",
  "forwarded",
  "via",
] as const;

/**
 * Creates the function that determines the client of a request. `X-Forwarded-For` and `X-Forwarded-Proto` are used only from
 * trusted proxies, and read from the right, since a client can forge entries further left. Other peers that send such headers
 * are treated as proxies too: their clients do not count as loopback.
 *
 * @param untrusted called once, with the address of the first such peer
 */
export function createPeerOf(
  config: Config,
  untrusted: (peer: string) => void,
): (headers: Headers, peer: string | null) => Peer {
  const trusted = new Set(config.trustedProxies.map((address) => plainAddress(address) ?? address));
  const tls = config.tls !== null;
  let warned = false;

  return (headers, peer) => {
    const near = (peer === null ? null : plainAddress(peer.replace(/%.*$/, ""))) ?? "unknown";
    if (!trusted.has(near)) {
      const loopback = isLoopback(near);
      // After the warning, only a loopback peer still depends on the headers.
      if ((warned && !loopback) || !FORWARDING.some((name) => headers.has(name)))
        return { address: near, https: tls, loopback };
      if (!warned) untrusted(near);
      warned = true;
      return { address: loopback ? "unknown" : near, https: tls, loopback: false };
    }
    const { address, known } = forwardedFor(headers.get("x-forwarded-for"), near, trusted);
    const scheme = headers.get("x-forwarded-proto")?.split(",").at(-1)?.trim().toLowerCase();
    return {
      address,
      https: scheme === undefined ? tls : scheme === "https",
      loopback: known && isLoopback(address),
    };
  };
}

/**
 * The first address from the right that is not a trusted proxy; an invalid entry ends the search. `known`: the address is
 * that of the client, not of a proxy that did not name its client.
 */
function forwardedFor(
  header: string | null,
  near: string,
  trusted: ReadonlySet<string>,
): { readonly address: string; readonly known: boolean } {
  let address = near;
  for (const entry of (header ?? "").split(",").toReversed()) {
    const next = plainAddress(withoutPort(entry.trim()));
    if (next === null) return { address, known: false };
    address = next;
    if (!trusted.has(address)) break;
  }
  return { address, known: true };
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(entry: string): string {
  const match = /^(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)$/.exec(entry);
  return match?.[1] ?? match?.[2] ?? entry;
}
