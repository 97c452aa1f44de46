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

/** Maximum number of cached addresses, and the longest text cached, in characters. */
const MAX_CACHED = 10_000;
const MAX_LENGTH = 48;

const cached = new Map<string, string | null>();

/**
 * Normalizes an address: IPv6 in its shortest form, IPv4-mapped IPv6 as IPv4; `null` if invalid. Equal addresses share one
 * string.
 */
export function plainAddress(text: string): string | null {
  const before = cached.get(text);
  if (before !== undefined) return before;
  const address = readAddress(text);
  if (text.length > MAX_LENGTH) return address;
  if (cached.size >= MAX_CACHED) cached.clear();
  cached.set(text, address);
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
 * The unit of per-address limits: an IPv4 address, or the /64 of an IPv6 address, since one subscriber usually owns a /64.
 *
 * @param address as in `Peer`: IPv4, or IPv6 in its shortest form
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
