/** Whether an address to listen on, as `Config.host` holds it, is reached from this machine only. */
export function isLoopback(host: string): boolean {
  return (
    host === "localhost" ||
    host.endsWith(".localhost") ||
    host === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) ||
    // How the address parser prints ::ffff:127.x.y.z.
    /^::ffff:7f[0-9a-f]{2}:/.test(host)
  );
}
