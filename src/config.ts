export { loadConfig } from "./config/load.ts";
export { isLoopback } from "./config/loopback.ts";
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
} from "./config/shape.ts";
