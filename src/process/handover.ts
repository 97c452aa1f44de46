/** What a server hands over to its successor: by a channel between the two processes, never by arguments or environment. */
export interface Handover {
  /** Address in the configuration of the old server. */
  readonly host: string;
  readonly configuredPort: number;
  /** The port in use; differs from `configuredPort` if the system chose it. */
  readonly port: number;
  /** Secrets that were generated because none is configured. */
  readonly jwtSecret: string | null;
  readonly adminSecret: string | null;
  /** Signs messages between servers if no secret is configured. */
  readonly fleetSecret: string | null;
  /** Whether SIGHUP is ignored, as `nohup` sets it: the runtime resets this for its children. */
  readonly ignoresHangUp: boolean;
}

/** Messages between both processes. Their executables can be of different versions. */
export type ToSuccessor =
  | { readonly type: "handover"; readonly handover: Handover }
  /** The answer to `subscribed`: it may listen. */
  | { readonly type: "listen" }
  /** It replaces the old server from now on. */
  | { readonly type: "confirmed" }
  /** The old server has closed its listening sockets. */
  | { readonly type: "released" };

export type FromSuccessor =
  | { readonly type: "started" }
  /** It receives what the bus delivers. */
  | { readonly type: "subscribed" }
  | { readonly type: "serving"; readonly url: string }
  | { readonly type: "failed"; readonly reason: string };

/** Set for a successor, which removes it. */
export const SUCCESSOR_VARIABLE = "CHANNEL_SUCCESSOR";

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

export function parseFromSuccessor(value: unknown): FromSuccessor | null {
  const { type, url, reason } = fieldsOf(value);
  if (type === "started" || type === "subscribed") return { type };
  if (type === "serving" && typeof url === "string") return { type, url };
  if (type === "failed" && typeof reason === "string") return { type, reason };
  return null;
}

export function parseToSuccessor(value: unknown): ToSuccessor | null {
  const { type, handover } = fieldsOf(value);
  if (type === "listen" || type === "confirmed" || type === "released") return { type };
  const parsed = type === "handover" ? parseHandover(fieldsOf(handover)) : null;
  return parsed === null ? null : { type: "handover", handover: parsed };
}

function parseHandover(fields: Fields): Handover | null {
  const { host, configuredPort, port, jwtSecret, adminSecret, fleetSecret, ignoresHangUp } = fields;
  if (typeof host !== "string" || typeof configuredPort !== "number" || typeof port !== "number") return null;
  return {
    host,
    configuredPort,
    port,
    jwtSecret: typeof jwtSecret === "string" ? jwtSecret : null,
    adminSecret: typeof adminSecret === "string" ? adminSecret : null,
    fleetSecret: typeof fleetSecret === "string" ? fleetSecret : null,
    ignoresHangUp: ignoresHangUp === true,
  };
}
