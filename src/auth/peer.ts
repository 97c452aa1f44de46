import { isIP } from "node:net";

/** The client of a connection, behind any trusted proxies. */
export interface Peer {
  /** IPv4, or IPv6 in its shortest form; `"unknown"` if the connection is gone or a proxy does not name the client. */
  readonly address: string;
  /** Whether the client's own connection is encrypted. */
  readonly https: boolean;
  /** Whether the client runs on this machine. */
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

/**
 * What one owner holds, for limits that count by address: an IPv4 address itself, of an IPv6 address the /64 that it is
 * in, since everybody has 2^64 of those.
 *
 * @param address as `clientOf` gives it: IPv4, or IPv6 in its shortest form
 */
export function addressBlock(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? [] : tail.split(":");
    while (groups.length + after.length < 8) groups.push("0");
    groups.push(...after);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}
