import { isIP, isIPv6 } from "node:net";

/** A value as `channel config` prints it; it can be set again in this form. */
export type PrintedValue = string | number | boolean | readonly string[] | null;

/** How a value is parsed, from the text of a flag or variable or from a TOML value, and printed. */
export interface ValueType<T> {
  /** Allowed values, as the end of "port must be ...". */
  readonly expects: string;
  /** Parses any value that TOML can contain; `undefined` if it is invalid. */
  parse(value: unknown): T | undefined;
  print(value: T): PrintedValue;
}

/** An integer, bounds included. */
export function integer(min: number, max: number): ValueType<number> {
  return {
    expects: `a whole number from ${min} to ${max}`,
    parse(value) {
      const number = typeof value === "string" && /^[0-9]{1,15}$/.test(value) ? Number(value) : value;
      return typeof number === "number" && Number.isInteger(number) && number >= min && number <= max
        ? number
        : undefined;
    },
    print: (value) => value,
  };
}

/** An integer, bounds included, or a word. */
export function integerOr<const T extends string>(word: T, min: number, max: number): ValueType<number | T> {
  const { parse, expects } = integer(min, max);
  return {
    expects: `${expects}, or ${JSON.stringify(word)}`,
    parse: (value) => (value === word ? word : parse(value)),
    print: (value) => value,
  };
}

const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?$/;

function parseDuration(value: unknown): number | undefined {
  if (typeof value === "number") return value * MS.s;
  const [, digits, unit] = (typeof value === "string" && DURATION.exec(value)) || [];
  if (digits === undefined) return undefined;
  return Number(digits) * (isUnit(unit) ? MS[unit] : MS.s);
}

function isUnit(text: string | undefined): text is keyof typeof MS {
  return text !== undefined && Object.hasOwn(MS, text);
}

function printDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const unit of ["d", "h", "m", "s"] as const) if (ms % MS[unit] === 0) return `${ms / MS[unit]}${unit}`;
  return `${ms}ms`;
}

/** A duration in milliseconds; bounds in milliseconds. */
export function duration(min: number, max: number): ValueType<number> {
  return {
    expects: `a duration from ${printDuration(min)} to ${printDuration(max)}, in seconds or as "50ms", "5s", "10m"`,
    parse(value) {
      const ms = Math.round(parseDuration(value) ?? Number.NaN);
      return ms >= min && ms <= max ? ms : undefined;
    },
    print: printDuration,
  };
}

/** A duration in seconds; bounds in seconds. */
export function seconds(min: number, max: number): ValueType<number> {
  const inner = duration(min * MS.s, max * MS.s);
  return {
    expects: inner.expects,
    parse(value) {
      const ms = inner.parse(value);
      return ms === undefined || ms % MS.s !== 0 ? undefined : ms / MS.s;
    },
    print: (value) => value,
  };
}

const BYTES: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

function printSize(bytes: number): string | number {
  for (const unit of ["GiB", "MiB", "KiB"]) {
    const one = BYTES[unit.toLowerCase()] ?? 1;
    if (bytes >= one && bytes % one === 0) return `${bytes / one}${unit}`;
  }
  return bytes;
}

/** A size in bytes. */
export function size(min: number, max: number): ValueType<number> {
  return {
    expects: `a size from ${printSize(min)} to ${printSize(max)}, in bytes or as "64KiB", "4MiB", "1GiB"`,
    parse(value) {
      const [, digits, unit] =
        (typeof value === "string" && /^([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kmg]?i?b)?$/i.exec(value)) || [];
      const bytes =
        digits === undefined ? value : Number(digits) * (BYTES[(unit ?? "b").toLowerCase()] ?? Number.NaN);
      return typeof bytes === "number" && Number.isInteger(bytes) && bytes >= min && bytes <= max
        ? bytes
        : undefined;
    },
    print: printSize,
  };
}

/** `true` or `false`. */
export const bool: ValueType<boolean> = {
  expects: "true or false",
  parse: (value) =>
    value === true || value === "true" ? true : value === false || value === "false" ? false : undefined,
  print: (value) => value,
};

/** `true`, `false` or a word. */
export function boolOr<const T extends string>(word: T): ValueType<boolean | T> {
  return {
    expects: `true, false or ${JSON.stringify(word)}`,
    parse: (value) => (value === word ? word : bool.parse(value)),
    print: (value) => value,
  };
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): ValueType<T> {
  return {
    expects: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
    parse: (value) => words.find((word) => word === value),
    print: (value) => value,
  };
}

/** Text that is not blank, has no control characters and passes `accept`, which may normalise it. */
export function text(
  expects: string,
  accept: (text: string) => string | undefined = (all) => all,
): ValueType<string> {
  return {
    expects,
    parse(value) {
      if (typeof value !== "string" || value.trim() === "" || /[\u0000-\u001f\u007f]/.test(value))
        return undefined;
      return value.isWellFormed() ? accept(value) : undefined;
    },
    print: (value) => value,
  };
}

/** Multi-line text such as a PEM, or the path of a file with it. */
export function textOrPath(expects: string): ValueType<string> {
  return {
    expects,
    parse: (value) =>
      typeof value === "string" && value.trim() !== "" && !value.includes("\0") ? value : undefined,
    print: (value) => value,
  };
}

/** A secret of at least `min` characters. */
export function secretText(min: number): ValueType<string> {
  return text(`text of at least ${min} characters`, (value) => (value.length < min ? undefined : value));
}

/** A secret and the `kid` of tokens signed with it, or `null`. */
export interface NamedSecret {
  readonly kid: string | null;
  readonly secret: string;
}

/**
 * Secrets for rotation, the newest first: in the configuration file a list of texts or `{kid, secret}`; in a variable or a
 * secret file, texts separated by commas or line breaks.
 */
export function secretList(item: ValueType<string>): ValueType<readonly NamedSecret[]> {
  const kidText = text("text");
  const parseOne = (one: unknown): NamedSecret | undefined => {
    const named = typeof one === "object" && one !== null && "secret" in one ? one : { secret: one };
    const secret = item.parse(named.secret);
    const kid = "kid" in named ? kidText.parse(named.kid) : null;
    const known = Object.keys(named).every((name) => name === "kid" || name === "secret");
    return secret === undefined || kid === undefined || !known ? undefined : { kid, secret };
  };
  return {
    expects: `a list, the newest first, of texts or {kid, secret}, each secret ${item.expects}`,
    parse(value) {
      const items =
        typeof value === "string"
          ? value
              .split(/[,\n]/)
              .map((one) => one.trim())
              .filter((one) => one !== "")
          : value;
      if (!Array.isArray(items) || items.length === 0) return undefined;
      const parsed: NamedSecret[] = [];
      for (const one of items) {
        const good = parseOne(one);
        if (good === undefined || parsed.some(({ secret }) => secret === good.secret)) return undefined;
        parsed.push(good);
      }
      return parsed;
    },
    print: () => "********",
  };
}

/** A list: a TOML array, or text separated by commas. */
export function list<T extends string>(item: ValueType<T>, expects: string): ValueType<readonly T[]> {
  return {
    expects,
    parse(value) {
      const items = typeof value === "string" ? value.split(",").map((one) => one.trim()) : value;
      if (!Array.isArray(items)) return undefined;
      const parsed: T[] = [];
      for (const one of items) {
        const good = item.parse(one);
        if (good === undefined) return undefined;
        parsed.push(good);
      }
      return parsed;
    },
    print: (value) => value,
  };
}

/** A value that may be absent (`null`); absence cannot be written, only omitted. */
export function optional<T>(inner: ValueType<T>): ValueType<T | null> {
  return { ...inner, print: (value) => (value === null ? null : inner.print(value)) };
}

/** An IP address (normalised, without brackets) or a host name. */
export const host = text("an IP address or a host name", (value) => {
  const bare = value.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  if (isIPv6(bare)) return URL.parse(`http://[${bare}]`)?.hostname.slice(1, -1) ?? bare;
  return /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?$/.test(bare) ? bare : undefined;
});

/** The name in a `Host` header, without the port. */
export const hostName = text("a host name", (value) => host.parse(value));

/** An IP address, normalised. */
export const address = text("an IP address", (value) => (isIP(value) === 0 ? undefined : host.parse(value)));

/** An `http:` or `https:` URL without query or fragment; a trailing slash is removed. */
export const httpAddress = text("an address such as https://example.org", (value) => {
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    return undefined;
  return url.search === "" && url.hash === "" ? (url.origin + url.pathname).replace(/\/+$/, "") : undefined;
});

/** The URL of a key set: `http:` or `https:`, with an optional query. */
export const keySetAddress = text("an http:// or https:// address", (value) => {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol) ? url.href : undefined;
});

/** The URL of a hook: `http:` or `https:`, with an optional query. `"off"` is `null`: it ends what a wider pattern sets. */
export const hookAddress: ValueType<string | null> = {
  expects: 'an http:// or https:// address without user and fragment, or "off"',
  parse(value) {
    if (value === "off") return null;
    const url = typeof value === "string" && !/[\s\u0000-\u001f]/.test(value) ? URL.parse(value) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
    return url.username === "" && url.password === "" && url.hash === "" ? url.href : undefined;
  },
  print: (value) => value,
};

/** Headers that a hook's own request has, or that are for one connection. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  ...[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
  ],
  ...["keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "x-channel-signature"],
]);

/** The name of a request header that a hook may get, in lower case. */
export const forwardedHeader = text("the name of a request header", (value) => {
  const name = value.toLowerCase();
  return /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(name) && !NOT_FORWARDED.has(name) ? name : undefined;
});

/** Where calls go: `redis`, `queue:<name>`, or an `http:` or `https:` address without a user. */
export const callTarget = text(
  '"redis", "queue:" with a name of at most 64 letters, digits and - _ . :, or an http:// or https:// address without a user',
  (value) => {
    if (value === "redis" || /^queue:[\w.:-]{1,64}$/.test(value)) return value;
    const url = URL.parse(value);
    if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
    return url.username === "" && url.password === "" && url.hash === "" ? url.href : undefined;
  },
);

/** An event, or the start of one with a star at its end. */
export const eventPattern = text("an event without a colon; a star at the end makes a pattern", (value) =>
  value.includes(":") || value.slice(0, -1).includes("*") ? undefined : value,
);

/** An `Origin` as browsers send it: lower case, without a default port. Apps may have other schemes. */
const origin = text("an origin such as https://example.org or capacitor://localhost", (value) => {
  const [, scheme = "", rest] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s*\\]*)\/?$/i.exec(value) ?? [];
  if (rest === undefined) return undefined;
  if (/^https?$/i.test(scheme)) return URL.parse(value)?.origin;
  return `${scheme.toLowerCase()}://${rest}`;
});

const origins = list(origin, "");

/** `same-host`, `*`, or a list of origins. */
export const originRule: ValueType<"same-host" | "*" | readonly string[]> = {
  expects: '"same-host", "*", or a list of origins such as https://example.org',
  parse: (value) => (value === "same-host" || value === "*" ? value : origins.parse(value)),
  print: (value) => value,
};

/** The path prefix of all routes: empty, or without a trailing slash. */
export const basePath: ValueType<string> = {
  expects: 'empty, or a path such as "/channel"',
  parse(value) {
    if (value === "" || value === "/") return "";
    return typeof value === "string" &&
      /^(\/[A-Za-z0-9._~-]+)+\/?$/.test(value) &&
      !/\/\.{1,2}(\/|$)/.test(value)
      ? value.replace(/\/$/, "")
      : undefined;
  },
  print: (value) => value,
};

/** A prefix for names in Redis; none of its characters is special in a pattern. */
export const busPrefix: ValueType<string> = {
  expects: "at most 64 letters, digits and - _ . :",
  parse: (value) => (typeof value === "string" && /^[\w.:-]{0,64}$/.test(value) ? value : undefined),
  print: (value) => value,
};

/** Longest name of a server, in characters. */
const MAX_NODE_NAME = 64;

export const nodeName = text(`text of at most ${MAX_NODE_NAME} characters`, (value) =>
  value.length > MAX_NODE_NAME ? undefined : value,
);

const REDIS = /^(redis|rediss|redis\+sentinel|rediss\+sentinel|redis\+cluster|rediss\+cluster):\/\/[^\s/]+/;

/** An address of Redis. Lists of hosts are checked by the bus. */
export const redisAddress = text(
  "an address: redis://, rediss://, redis+sentinel:// or redis+cluster:// with a host, or unix: with a path; in a password write / as %2F, ? as %3F, @ as %40",
  (value) => {
    if (/^unix:\/*[^/\s]/.test(value)) return value;
    const several = value.includes("+") || value.includes(",");
    return REDIS.test(value) && (several || URL.canParse(value)) ? value : undefined;
  },
);

/** The address of a RabbitMQ. */
export const amqpAddress = text(
  "an address: amqp:// or amqps:// with a host; in a password write / as %2F, ? as %3F, @ as %40, % as %25",
  (value) => (/^amqps?:\/\/[^\s#]+$/.test(value) && hasParts(value) ? value : undefined),
);

/** Whether user, password and virtual host can be decoded. */
function hasParts(value: string): boolean {
  const url = URL.parse(value);
  if (url === null || url.hostname === "") return false;
  try {
    for (const part of [url.username, url.password, url.pathname]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/** The name of an exchange. Those of `amq.` belong to the broker. */
export const exchangeName = text("the name of an exchange: letters, digits, -_.: and at most 127", (value) =>
  /^[A-Za-z0-9_.:-]{1,127}$/.test(value) && !value.startsWith("amq.") ? value : undefined,
);
