import { nameCovers } from "../auth/claims.ts";
import type { ChannelSettings } from "../config/config.ts";
import { callRulesOf } from "./calls/call-rules.ts";
import type { ChannelRules } from "./channel.ts";
import { clientEventRulesOf } from "./client-events.ts";

const DEFAULTS: ChannelRules = { presence: true, presenceMeta: false, namesSender: false, history: null };

/** The rules of a channel: of the first `[[channels]]` whose pattern covers its name, or the defaults. */
export function createChannelRules(settings: readonly ChannelSettings[]): (channel: string) => ChannelRules {
  const rules = settings.map((each) => ({ pattern: each.pattern, rules: rulesOf(each) }));
  return (channel) => {
    const found = rules.find(({ pattern }) => nameCovers(pattern, channel))?.rules ?? DEFAULTS;
    // Each event of `admin` counts: opened and closed, joined and left.
    return channel === "admin" && found.conflates ? { ...found, conflates: false } : found;
  };
}

/** Whether clients of any channel may get less than every message. */
export function conflates(settings: readonly ChannelSettings[]): boolean {
  return settings.some(({ slow }) => slow === "latest");
}

/** Whether messages of any channel are kept. */
export function keepsHistory(settings: readonly ChannelSettings[]): boolean {
  return settings.some((each) => rulesOf(each).history !== null);
}

function rulesOf(settings: ChannelSettings): ChannelRules {
  const {
    presence,
    presenceMeta,
    sender,
    history,
    historyBytes,
    historyTtl,
    lastValue,
    historyStore,
    slow,
    trustedJson,
  } = settings;
  const keeps = history > 0 || lastValue;
  return {
    presence,
    presenceMeta,
    namesSender: sender,
    conflates: slow === "latest",
    trustsJson: trustedJson,
    clientEvents: clientEventRulesOf(settings),
    calls: callRulesOf(settings),
    history: keeps
      ? {
          count: history,
          bytes: historyBytes,
          ttl: historyTtl,
          lastValue,
          stored: historyStore === "redis" && history > 0,
        }
      : null,
  };
}
