import { BusError } from "../bus-error.ts";

/** A parsed `amqp_url`. */
export interface AmqpAddress {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  /** For people: host and port, and the virtual host unless it is `/`. Never the password. */
  readonly shown: string;
}

const PORTS = { "amqp:": 5672, "amqps:": 5671 } as const;

/** The user and password of a new RabbitMQ, which accepts them from loopback only. */
const GUEST = "guest";

/**
 * Parses `amqp://user:password@host:port/vhost`, or `amqps:`. The virtual host is percent-encoded; without one it is `/`.
 * @throws BusError if it is invalid.
 */
export function parseAmqpAddress(url: string): AmqpAddress {
  const parsed = URL.parse(url);
  if (
    parsed === null ||
    (parsed.protocol !== "amqp:" && parsed.protocol !== "amqps:") ||
    parsed.host === ""
  ) {
    throw new BusError("bad-address", "amqp_url must be amqp:// or amqps:// with a host");
  }
  const { protocol, hostname, username, password, pathname } = parsed;
  const port = parsed.port === "" ? PORTS[protocol] : Number(parsed.port);
  const isGuest = username === "" && password === "";
  const vhost = pathname.length < 2 ? "/" : decoded(pathname.slice(1));
  return {
    secure: protocol === "amqps:",
    host: hostname.replace(/^\[|\]$/g, ""),
    port,
    username: isGuest ? GUEST : decoded(username),
    password: isGuest ? GUEST : decoded(password),
    vhost,
    shown: `${hostname}:${port}${vhost === "/" ? "" : `/${vhost}`}`,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new BusError("bad-address", "amqp_url has a percent sign that encodes nothing");
  }
}
