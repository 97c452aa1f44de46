import {
  AUTO_HOST,
  checkBuffers,
  checkCalls,
  checkFolder,
  checkHistoryStore,
  checkHooks,
  refuseKnownSecrets,
  resolveAutoHost,
  secretsOf,
  tlsOf,
  warningsOf,
} from "./checks.ts";
import { checkAmqp } from "./checks-amqp.ts";
import { ConfigError } from "./config-error.ts";
import { refuseUnknownVariables } from "./environment.ts";
import { openKeySet, readableSecrets } from "./exposure.ts";
import { readConfigFile } from "./file.ts";
import { readPublicKey } from "./pem.ts";
import { Reader } from "./reader.ts";
import { CHANNELSTREAM, CLAIMS, LIMITS, TOP } from "./settings.ts";
import type { Config, Loaded, LoadInput } from "./types.ts";
import { checkWorkers } from "./workers.ts";

const SYSTEM_FILE = "/etc/channel/channel.toml";

/**
 * Reads flags, environment and file (in this order of precedence), applies defaults and checks values and their
 * combinations. Never throws for invalid input.
 */
export function loadConfig(input: LoadInput): Loaded {
  try {
    return load(input);
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, exitCode: error.exitCode, message: error.message };
    throw error;
  }
}

function load(input: LoadInput): Loaded {
  const file = readConfigFile(input.cwd, input.flags.config, input.systemFile ?? SYSTEM_FILE);
  const reader = new Reader(input, file);
  refuseUnknownVariables(input.env);
  const values = reader.table("", TOP);
  const {
    jwtSecret,
    jwtSecrets,
    adminSecret,
    adminSecrets,
    fleetSecret,
    fleetSecrets,
    tlsCert,
    tlsKey,
    ...top
  } = values;
  const jwt = secretsOf(reader, "jwt_secret", jwtSecret, jwtSecrets);
  const admin = secretsOf(reader, "admin_secret", adminSecret, adminSecrets);
  const fleet = secretsOf(reader, "fleet_secret", fleetSecret, fleetSecrets);
  const written: Config = {
    ...top,
    redisUrlGiven: reader.given("redis_url"),
    jwtSecret: jwt[0]?.secret ?? randomSecret(),
    jwtSecretGenerated: jwt.length === 0,
    jwtKid: jwt[0]?.kid ?? null,
    olderJwtSecrets: jwt.slice(1),
    jwtPublicKey:
      top.jwtPublicKey === null ? null : readPublicKey(reader.place("jwt_public_key"), top.jwtPublicKey),
    adminSecret: admin[0]?.secret ?? randomSecret(),
    adminSecretGenerated: admin.length === 0,
    olderAdminSecrets: admin.slice(1).map(({ secret }) => secret),
    fleetSecrets: (fleet.length > 0 ? fleet : jwt).map(({ secret }) => secret),
    tls: tlsOf(reader, tlsCert, tlsKey),
    claims: reader.table("claims", CLAIMS),
    limits: reader.table("limits", LIMITS),
    channels: reader.channels(),
    channelstream: reader.table("channelstream", CHANNELSTREAM),
    apiKeys: reader.apiKeys(),
  };
  const auto = written.host === AUTO_HOST ? resolveAutoHost(reader, written) : null;
  const config: Config = auto === null ? written : { ...written, host: auto.host };
  checkBuffers(reader, config);
  checkAmqp(reader, config);
  checkHistoryStore(reader, config);
  checkWorkers(reader, config);
  checkHooks(reader, config);
  checkCalls(reader, config);
  refuseKnownSecrets(reader, config);
  if (config.staticPath !== null) checkFolder(reader, config.staticPath);
  const keySet = openKeySet(config);
  const warnings = [
    ...(auto?.warnings ?? []),
    ...warningsOf(reader, config),
    ...(keySet === null ? [] : [keySet]),
    ...readableSecrets(file, tlsKey, input),
  ];
  return { ok: true, config: freeze(config), sources: reader.sources, file: file?.name ?? null, warnings };
}

function randomSecret(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) freeze(inner);
  return Object.freeze(value);
}
