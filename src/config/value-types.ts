import { isIP, isIPv6 } from "node:net";

/** What a value prints as in `channel config`: the form that can be set again. */
export type Printed = string | number | boolean | readonly string[] | null;

/** A kind of value: how it is read from the text of a flag or variable, or from a TOML value, and printed. */
export interface Kind<T> {
  /** What is allowed, as the end of the sentence "port must be ...". */
  readonly expects: string;
  /** `undefined` where the value is none of this kind. Takes whatever TOML may hold. */
  parse(value: unknown): T | undefined;
  print(value: T): Printed;
}

/** A whole number. */
export function whole(min: number, max: number): Kind<number> {
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

/** A duration in whole milliseconds; bounds in milliseconds. */
export function duration(min: number, max: number): Kind<number> {
  return {
    expects: `a duration from ${printDuration(min)} to ${printDuration(max)}, in seconds or as "50ms", "5s", "10m"`,
    parse(value) {
      const ms = Math.round(parseDuration(value) ?? Number.NaN);
      return ms >= min && ms <= max ? ms : undefined;
    },
    print: printDuration,
  };
}

/** A duration in whole seconds; bounds in seconds. */
export function seconds(min: number, max: number): Kind<number> {
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
export function size(min: number, max: number): Kind<number> {
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
export const toggle: Kind<boolean> = {
  expects: "true or false",
  parse: (value) =>
    value === true || value === "true" ? true : value === false || value === "false" ? false : undefined,
  print: (value) => value,
};

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): Kind<T> {
  return {
    expects: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
    parse: (value) => words.find((word) => word === value),
    print: (value) => value,
  };
}

/** Text that is not blank and holds no control character, as far as `accept` agrees; `accept` may tidy it. */
export function text(
  expects: string,
  accept: (text: string) => string | undefined = (all) => all,
): Kind<string> {
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

/** Text of several lines, such as a PEM, or the path of a file that holds it. */
export function textOrPath(expects: string): Kind<string> {
  return {
    expects,
    parse: (value) =>
      typeof value === "string" && value.trim() !== "" && !value.includes("\0") ? value : undefined,
    print: (value) => value,
  };
}

/** Text that nobody guesses. */
export function secretText(min: number): Kind<string> {
  return text(`a text of at least ${min} characters`, (value) => (value.length < min ? undefined : value));
}

/** A secret, and the id that tokens signed with it bear; `null` for none. */
export interface NamedSecret {
  readonly kid: string | null;
  readonly secret: string;
}

/**
 * Secrets that replace each other, the newest first: in a file a list of texts or of `{kid, secret}`, in a variable, or a
 * file that one names, texts between commas or on lines of their own.
 */
export function secretList(item: Kind<string>): Kind<readonly NamedSecret[]> {
  const kidText = text("a text");
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

/** A list: an array of TOML, or, in a flag or variable, items between commas. */
export function list<T extends string>(item: Kind<T>, expects: string): Kind<readonly T[]> {
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

/** A kind whose default is nothing at all; nothing can't be written down, only left out. */
export function optional<T>(inner: Kind<T>): Kind<T | null> {
  return { ...inner, print: (value) => (value === null ? null : inner.print(value)) };
}

/** What to listen on: an IP address, in its shortest form and without brackets, or a host name. */
export const host = text("an IP address or a host name", (value) => {
  const bare = value.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  if (isIPv6(bare)) return URL.parse(`http://[${bare}]`)?.hostname.slice(1, -1) ?? bare;
  return /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?$/.test(bare) ? bare : undefined;
});

/** The name of a `Host` header, without its port. */
export const hostName = text("a host name", (value) => host.parse(value));

/** An IP address in its shortest form. */
export const address = text("an IP address", (value) => (isIP(value) === 0 ? undefined : host.parse(value)));

/** `http:` or `https:` with nothing behind the path; without a slash at the end. */
export const httpAddress = text("an address such as https://example.org", (value) => {
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    return undefined;
  return url.search === "" && url.hash === "" ? (url.origin + url.pathname).replace(/\/+$/, "") : undefined;
});

/** Where a key set lies: `http:` or `https:`, a query allowed. */
export const keySetAddress = text("an http:// or https:// address", (value) => {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol) ? url.href : undefined;
});

/** An `Origin` as browsers send it: of a website in lower case, without a default port. Apps have schemes of their own. */
const origin = text("an origin such as https://example.org or capacitor://localhost", (value) => {
  const [, scheme = "", rest] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s*\\]*)\/?$/i.exec(value) ?? [];
  if (rest === undefined) return undefined;
  if (/^https?$/i.test(scheme)) return URL.parse(value)?.origin;
  return `${scheme.toLowerCase()}://${rest}`;
});

const origins = list(origin, "");

/** `same-host`, `*`, or a list of origins. */
export const originRule: Kind<"same-host" | "*" | readonly string[]> = {
  expects: '"same-host", "*", or a list of origins such as https://example.org',
  parse: (value) => (value === "same-host" || value === "*" ? value : origins.parse(value)),
  print: (value) => value,
};

/** The path in front of every route: empty, or with a slash before and none behind. */
export const basePath: Kind<string> = {
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
export const busPrefix: Kind<string> = {
  expects: "at most 64 letters, digits and - _ . :",
  parse: (value) => (typeof value === "string" && /^[\w.:-]{0,64}$/.test(value) ? value : undefined),
  print: (value) => value,
};

const REDIS = /^(redis|rediss|redis\+sentinel|rediss\+sentinel|redis\+cluster|rediss\+cluster):\/\/[^\s/]+/;

/** An address that the bus understands; it takes lists of hosts apart itself. */
export const redisAddress = text(
  "an address: redis://, rediss://, redis+sentinel:// or redis+cluster:// with a host, or unix: with a path; a password has / as %2F, ? as %3F, @ as %40",
  (value) => {
    if (/^unix:\/*[^/\s]/.test(value)) return value;
    const several = value.includes("+") || value.includes(",");
    return REDIS.test(value) && (several || URL.canParse(value)) ? value : undefined;
  },
);
