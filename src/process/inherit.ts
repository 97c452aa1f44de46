import type { Config } from "../config/config.ts";
import type { Handover } from "./handover.ts";
import { hangUpIsIgnored } from "./signals.ts";

/** The configuration with what an earlier server handed over. */
export interface Inherited {
  readonly config: Config;
  /** What this server hands over in turn, once it listens on a port. */
  readonly handover: Omit<Handover, "port"> & { readonly fleetSecret: string };
}

/**
 * Completes the configuration of a successor with the port and the generated secrets of the server that it replaces. Returns why it
 * cannot replace that server; one without a predecessor always starts.
 */
export function inherit(config: Config, received: Handover | null): Inherited | string {
  const refusal = received === null ? null : changeOf(config, received);
  if (refusal !== null) return refusal;
  const { host, port: configuredPort, jwtSecretGenerated, adminSecretGenerated } = config;
  const port = received?.port ?? configuredPort;
  const jwtSecret = (jwtSecretGenerated ? received?.jwtSecret : null) ?? config.jwtSecret;
  const adminSecret = (adminSecretGenerated ? received?.adminSecret : null) ?? config.adminSecret;
  return {
    config: { ...config, port, jwtSecret, adminSecret },
    handover: {
      host,
      configuredPort,
      jwtSecret: jwtSecretGenerated ? jwtSecret : null,
      adminSecret: adminSecretGenerated ? adminSecret : null,
      fleetSecret: received?.fleetSecret ?? crypto.getRandomValues(new Uint8Array(32)).toHex(),
      ignoresHangUp: received?.ignoresHangUp ?? hangUpIsIgnored(),
    },
  };
}

function changeOf(config: Config, { host, configuredPort, port }: Handover): string | null {
  if (config.bus === "embedded") return "bus changed to embedded: restart the server instead";
  if (config.host !== host) return `host changed from ${host} to ${config.host}: restart the server instead`;
  if (config.port !== configuredPort && config.port !== port)
    return `port changed from ${configuredPort} to ${config.port}: restart the server instead`;
  return null;
}
