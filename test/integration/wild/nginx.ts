import { type FrontProxy, startProxy } from "../deploy/proxy.ts";

/** A real nginx in front of several servers, as deploy/nginx.conf has it, without TLS. */
export function startNginx(servers: readonly number[]): Promise<FrontProxy> {
  return startProxy("nginx", servers, false);
}
