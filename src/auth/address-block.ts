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
