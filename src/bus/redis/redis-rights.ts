/** A command of the server, with names below those of its rights, to ask Redis whether it would be permitted. */
export interface NeededRight {
  readonly command: readonly string[];
  /** What an access list has to contain: `+set`, `&to:*`. */
  readonly right: string;
  /** Whether the server is of no use without it. */
  readonly required: boolean;
}

/** What the server needs for the features that are on. */
export interface RightsFeatures {
  readonly history: boolean;
  readonly webhook: boolean;
}

const KEY = "hub:doctor";

/** Commands on keys, with arguments that fit; the name of the key comes first. */
const ON_KEYS: Readonly<Record<string, readonly string[]>> = {
  get: [],
  set: ["1"],
  exists: [],
  del: [],
  zadd: ["1", "a"],
  zrangebyscore: ["0", "1"],
  zremrangebyscore: ["0", "1"],
  hset: ["a", "1"],
  hdel: ["a"],
  hgetall: [],
  sadd: ["a"],
  srem: ["a"],
  scard: [],
  sscan: ["0"],
  srandmember: [],
  expire: ["1"],
};

const FOR_HISTORY: typeof ON_KEYS = {
  hget: ["a"],
  hmget: ["a"],
  xadd: ["*", "a", "1"],
  xlen: [],
  xrange: ["-", "+"],
  xrevrange: ["+", "-"],
  xtrim: ["MAXLEN", "1"],
  pexpire: ["1"],
};

const FOR_WEBHOOK: typeof ON_KEYS = {
  hget: ["a"],
  hscan: ["0"],
  smembers: [],
  pexpire: ["1"],
  zrem: ["a"],
  xadd: ["*", "a", "1"],
  xdel: ["1-1"],
  xlen: [],
  xrange: ["-", "+"],
  xtrim: ["MAXLEN", "1"],
};

/** The digest of a script that no server has. */
const NO_SCRIPT = "0".repeat(40);

/** Every right that the server needs, those in docs/errors.md. `psubscribe` is not among them: it cannot be asked for in MULTI. */
export function neededRights(prefix: string, { history, webhook }: RightsFeatures): NeededRight[] {
  const key = prefix + KEY;
  const publish = (family: string, required: boolean): NeededRight => ({
    command: ["PUBLISH", `${prefix}${family}:doctor:check`, ""],
    right: `&${prefix}${family}:*`,
    required,
  });
  const commands = {
    ...ON_KEYS,
    ...(history ? FOR_HISTORY : {}),
    ...(webhook ? FOR_WEBHOOK : {}),
  };
  const scripts = history || webhook ? [{ name: "evalsha", script: NO_SCRIPT }] : [];
  return [
    publish("from", true),
    publish("to", true),
    publish("push", false),
    publish("hub", false),
    { command: ["TIME"], right: "+time", required: false },
    ...Object.entries(commands).map(([name, rest]) => ({
      command: [name.toUpperCase(), key, ...rest],
      right: `+${name}`,
      required: false,
    })),
    ...[{ name: "eval", script: "return 1" }, ...scripts].map(({ name, script }) => ({
      command: [name.toUpperCase(), script, "1", key],
      right: `+${name}`,
      required: false,
    })),
  ];
}

/** The right that a refusal is about: Redis says whether it misses the command, the channel or the key. */
export function missingRight(
  { command: [name = ""], right }: NeededRight,
  prefix: string,
  error: string,
): string {
  if (/\bkeys?\b/.test(error)) return `~${prefix}hub:*`;
  return /\bchannels?\b/.test(error) ? right : `+${name.toLowerCase()}`;
}
