export { loadConfig } from "./load.ts";
export { isLoopback } from "./loopback.ts";
export type {
  ApiAbility,
  ApiKey,
  BusChoice,
  ChannelSettings,
  ChannelstreamSettings,
  Config,
  ExpiryMode,
  JwtSecret,
  Limits,
  Loaded,
  LoadInput,
  Origin,
  Source,
  TokenEndpoint,
} from "./types.ts";
