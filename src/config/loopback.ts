/** Whether an address (in the form of `Config.host`) is reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return (
    host === "localhost" ||
    host.endsWith(".localhost") ||
    host === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) ||
    // The URL parser prints ::ffff:127.x.y.z like this.
    /^::ffff:7f[0-9a-f]{2}:/.test(host)
  );
}
