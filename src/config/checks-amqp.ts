import { ConfigError } from "./config-error.ts";
import type { Reader } from "./reader.ts";
import type { Config } from "./types.ts";

/** What is kept in Redis or sent by it. With RabbitMQ there is none. */
const NEEDS_REDIS: readonly (readonly [string, string])[] = [
  ["prefix", "names exchanges by amqp_exchange_to and amqp_exchange_from instead"],
  ["fleet_secret", "connects no servers with each other: that needs Redis"],
  ["fleet_secrets", "connects no servers with each other: that needs Redis"],
  ["node_url", "connects no servers with each other: that needs Redis"],
  ["node_urls", "connects no servers with each other: that needs Redis"],
];

/** Throws a `ConfigError` for the first setting that RabbitMQ cannot serve. */
export function checkAmqp(reader: Reader, config: Config): void {
  if (config.bus !== "amqp") return;
  for (const [key, sentence] of NEEDS_REDIS) {
    if (reader.given(key)) throw new ConfigError(2, `${reader.place(key)}: bus = "amqp" ${sentence}`);
  }
  for (const { pattern, sender, historyStore, calls, callTo } of config.channels) {
    const channel = `channels.${JSON.stringify(pattern)}`;
    if (sender) {
      throw new ConfigError(2, `${channel}.sender: bus = "amqp" has no push: messages: they need Redis`);
    }
    if (calls.length > 0 && !/^https?:/.test(callTo)) {
      throw new ConfigError(
        2,
        `${channel}.call_to: bus = "amqp" takes calls to an address only: the others need Redis`,
      );
    }
    if (historyStore === "redis") {
      throw new ConfigError(2, `${channel}.history_store: bus = "amqp" keeps history in memory only`);
    }
  }
  if (config.amqpExchangeTo === config.amqpExchangeFrom) {
    throw new ConfigError(
      2,
      `${reader.place("amqp_exchange_from")} is the same as amqp_exchange_to: clients would receive their own messages`,
    );
  }
}
