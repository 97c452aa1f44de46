import type { Config } from "../config/config.ts";
import { atMostOncePer, type Log } from "../log.ts";

/**
 * Handles uncaught errors. Before the server listens they exit the process; afterwards they are logged and the server
 * continues, because exiting would disconnect every client.
 */
export function reportUncaught(
  config: Config,
  log: Log,
  stderr: (line: string) => void,
): { started(): void } {
  let running = false;
  // Rate-limited by place in the code, so that a frequent error neither hides another nor fills the disk.
  const reporters = new Map<string, (error: unknown) => void>();
  const report = (error: unknown) => {
    const at = place(error);
    const reporter = reporters.get(at) ?? createReporter(at);
    reporters.set(at, reporter);
    reporter(error);
  };
  const createReporter = (at: string) => {
    let latest: unknown;
    const limited = atMostOncePer(1000, (times) => {
      log.error("unexpected error", { error: withoutSecrets(config, oneLine(latest)), at, times });
    });
    return (error: unknown) => {
      latest = error;
      limited();
    };
  };
  const caught = (error: unknown) => {
    if (running) return report(error);
    stderr(withoutSecrets(config, oneLine(error)));
    process.exit(1);
  };
  process.on("uncaughtException", caught);
  process.on("unhandledRejection", caught);
  return {
    started() {
      running = true;
    },
  };
}

export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s*[\r\n]+\s*/g, " ");
}

/** Where an error was thrown: the first location in its stack. */
function place(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  return /^\s*at (.*)$/m.exec(stack)?.[1] ?? "unknown";
}

/** Masks secrets: messages of libraries may contain their input. */
export function withoutSecrets(config: Config, text: string): string {
  const secrets = [
    config.jwtSecret,
    ...config.olderJwtSecrets.map(({ secret }) => secret),
    config.adminSecret,
    ...config.olderAdminSecrets,
    ...config.fleetSecrets,
    ...(config.hookSecret === null ? [] : [config.hookSecret]),
    ...config.apiKeys.flatMap(({ keys }) => keys),
    ...(config.channelstream.secret === null ? [] : [config.channelstream.secret]),
  ];
  return secrets
    .reduce((rest, secret) => rest.replaceAll(secret, "********"), text)
    .replace(/(:\/\/[^\s:/@]*:)[^\s/]*@/g, "$1********@")
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, "********");
}
