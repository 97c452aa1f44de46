/** A command of the server, with names below those of its rights, to ask Redis whether it would be permitted. */
export interface NeededRight {
  readonly command: readonly string[];
  /** What an access list has to contain: `+set`, `&to:*`. */
  readonly right: string;
  /** The keys that the command touches, as an access list names them. */
  readonly keys: string;
  /** Whether the server is of no use without it. */
  readonly required: boolean;
}

/** What the server needs for the features that are on. */
export interface RightsFeatures {
  readonly history: boolean;
  readonly webhook: boolean;
  /** Calls that backends get by PUBLISH, or from a queue. */
  readonly calls: boolean;
  readonly queues: boolean;
  /** Whether one worker receives for others. */
  readonly workers: boolean;
}

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
  hincrby: ["a", "1"],
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

const FOR_QUEUES: typeof ON_KEYS = { rpush: ["a"], llen: [] };

/** The digest of a script that no server has. */
const NO_SCRIPT = "0".repeat(40);

/** Every right that the server needs, those in docs/errors.md, but for subscriptions: they cannot be asked for in MULTI. */
export function neededRights(prefix: string, features: RightsFeatures): NeededRight[] {
  const { history, webhook, calls, queues } = features;
  const keys = `~${prefix}hub:*`;
  const publish = (family: string, required: boolean): NeededRight => ({
    command: ["PUBLISH", `${prefix}${family}:doctor:check`, ""],
    right: `&${prefix}${family}:*`,
    keys,
    required,
  });
  const onKeys = (commands: typeof ON_KEYS, family: string): NeededRight[] =>
    Object.entries(commands).map(([name, rest]) => ({
      command: [name.toUpperCase(), `${prefix}${family}:doctor`, ...rest],
      right: `+${name}`,
      keys: `~${prefix}${family}:*`,
      required: false,
    }));
  const scripts = history || webhook ? [{ name: "evalsha", script: NO_SCRIPT }] : [];
  return [
    publish("from", true),
    publish("to", true),
    publish("push", false),
    publish("hub", false),
    ...(calls ? [publish("call", false)] : []),
    { command: ["TIME"], right: "+time", keys, required: false },
    ...onKeys({ ...ON_KEYS, ...(history ? FOR_HISTORY : {}), ...(webhook ? FOR_WEBHOOK : {}) }, "hub"),
    ...(queues ? onKeys(FOR_QUEUES, "queue") : []),
    ...[{ name: "eval", script: "return 1" }, ...scripts].map(({ name, script }) => ({
      command: [name.toUpperCase(), script, "1", `${prefix}hub:doctor`],
      right: `+${name}`,
      keys,
      required: false,
    })),
  ];
}

/** The right that a refusal is about: Redis says whether it misses the command, the channel or the key. */
export function missingRight({ command: [name = ""], right, keys }: NeededRight, error: string): string {
  if (/\bkeys?\b/.test(error)) return keys;
  return /\bchannels?\b/.test(error) ? right : `+${name.toLowerCase()}`;
}
