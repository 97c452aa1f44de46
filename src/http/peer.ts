import { isIP } from "node:net";
import type { Config } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";

/** Who is at the other end, after the proxies that are trusted. */
export interface Client {
  /** IPv4, or IPv6 in its shortest form; `"unknown"` where the connection is gone, or a proxy hides the client. */
  readonly address: string;
  /** Whether the client's own connection is encrypted. */
  readonly https: boolean;
  /** Whether the client is on this machine. */
  readonly loopback: boolean;
}

/** How many addresses are remembered as they were read, and how long each is at the most. */
const MAX_KNOWN = 10_000;
const MAX_LENGTH = 48;

const known = new Map<string, string | null>();

/**
 * An address as limits and lists compare it: IPv6 in its shortest form, IPv4 in IPv6 as IPv4; `null` for none. The
 * connections of one address share one text.
 */
export function plainAddress(text: string): string | null {
  const before = known.get(text);
  if (before !== undefined) return before;
  const address = readAddress(text);
  if (text.length > MAX_LENGTH) return address;
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(text, address);
  return address;
}

function readAddress(text: string): string | null {
  const kind = isIP(text);
  if (kind === 0 || text.includes("%")) return null;
  const name = URL.parse(kind === 6 ? `http://[${text}]` : `http://${text}`)?.hostname;
  if (name === undefined) return null;
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(name);
  if (mapped === null) return name.replace(/^\[|\]$/g, "");
  const high = Number.parseInt(mapped[1] ?? "", 16);
  const low = Number.parseInt(mapped[2] ?? "", 16);
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** What proxies add for the client that they speak for. */
const FORWARDING = [
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-real-ip",
  "forwarded",
  "via",
] as const;

/**
 * Makes the one way in which a client is known: `X-Forwarded-For` and `X-Forwarded-Proto` count when a trusted proxy
 * sent them, and then from the right, since everything further left may be the client's own invention. Other peers that
 * send such headers are proxies too, as far as we know: their clients are not on this machine, wherever the proxy is.
 * @param untrusted called once, with the address of the first such peer
 */
export function createClientOf(
  config: Config,
  untrusted: (peer: string) => void,
): (headers: Headers, peer: string | null) => Client {
  const trusted = new Set(config.trustedProxies.map((address) => plainAddress(address) ?? address));
  const tls = config.tls !== null;
  let warned = false;

  return (headers, peer) => {
    const near = (peer === null ? null : plainAddress(peer.replace(/%.*$/, ""))) ?? "unknown";
    if (!trusted.has(near)) {
      const loopback = isLoopback(near);
      // Another machine is what it is, proxy or not; after the warning there is nothing more to say about it.
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
 * The first address from the right that is no trusted proxy; one that can't be read hides all further left. `known`: it is
 * the client's, and not that of a proxy which did not say for whom it asks.
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
