import type { ArgsDef } from "citty";
import { flagName, snake, TOP } from "../config/settings.ts";
import { BENCH_DEFAULTS, bench } from "./bench.ts";
import type { Definitions } from "./command.ts";
import { completion, SHELLS } from "./completion.ts";
import { config } from "./config.ts";
import { init } from "./init.ts";
import { manual } from "./manual.ts";
import { publish } from "./publish.ts";
import { serve } from "./serve.ts";
import { token } from "./token.ts";
import { watch } from "./watch.ts";

export const PROGRAM = "channel";
export const SUMMARY = "A real-time hub between Phoenix Channels clients and Redis publish/subscribe";

/** What runs where no command is named. */
export const DEFAULT_COMMAND = "serve";

const SETTING_FLAGS: ArgsDef = Object.fromEntries(
  Object.entries(TOP).flatMap(([name, { flag, doc, default: standard }]) => {
    if (flag === undefined) return [];
    const description = standard === null ? doc : `${doc} Default: ${standard}.`;
    return [[flagName(snake(name)), { type: "string" as const, valueHint: flag, description }]];
  }),
);

const CONFIG: ArgsDef = {
  config: {
    type: "string",
    valueHint: "FILE",
    description:
      "The configuration file, instead of channel.toml, tangram.toml or /etc/channel/channel.toml.",
  },
};
const ALWAYS: ArgsDef = {
  help: { type: "boolean", alias: "h", description: "Print this and do nothing else." },
  version: { type: "boolean", alias: "v", description: "Print the version and do nothing else." },
};

/** The flags of `serve`, and of `channel` alone. */
export const FLAGS: ArgsDef = { ...SETTING_FLAGS, ...CONFIG, ...ALWAYS };

const JSON_FLAG = (what: string): ArgsDef => ({ json: { type: "boolean", description: what } });

function number(name: keyof typeof BENCH_DEFAULTS, valueHint: string, what: string): ArgsDef[string] {
  return { type: "string", valueHint, description: `${what} Default: ${BENCH_DEFAULTS[name]}.` };
}

function only(...names: readonly string[]): ArgsDef {
  return Object.fromEntries(Object.entries(FLAGS).filter(([name]) => names.includes(name)));
}

export const COMMANDS: Definitions = {
  serve: {
    run: serve,
    flags: FLAGS,
    description: "Run the server; so does no command at all.",
    examples: [
      ["channel", "runs the server with what it finds, or with defaults"],
      [
        "channel --port 4000 --redis-url redis://127.0.0.1:6379",
        "runs it on a port and a Redis of your choice",
      ],
    ],
  },
  init: {
    run: init,
    flags: {
      from: {
        type: "string",
        valueHint: "FILE",
        description: "Carry over a Channelstream configuration (config.ini) or a Tangram one (tangram.toml).",
      },
      config: { type: "string", valueHint: "FILE", description: "The file to write. Default: channel.toml." },
      ...ALWAYS,
    },
    description: "Write a commented channel.toml with fresh secrets; nothing is overwritten.",
    examples: [
      ["channel init", "writes channel.toml"],
      ["channel init --from tangram.toml", "keeps the address, Redis and secret of a Tangram installation"],
    ],
  },
  token: {
    run: token,
    flags: {
      channel: {
        type: "string",
        valueHint: "CHANNEL",
        description: "A channel that the token opens, or a pattern such as room:*; repeat it for several.",
      },
      id: { type: "string", valueHint: "ID", description: "Who holds it. Default: a random id." },
      "expires-in": {
        type: "string",
        valueHint: "DURATION",
        description: "How long it is good: 90, 10m, 1h, 7d. Default: jwt_expiration_secs.",
      },
      ...JSON_FLAG("Print JSON: id, channel or channels, token, expires_at."),
      ...only("jwt-secret", "jwt-expiration-secs", "id-length"),
      ...CONFIG,
      ...ALWAYS,
    },
    description: "Make a token with the configured secret, without asking a server.",
    examples: [
      ["channel token --channel system --id alice --expires-in 1h", "a token for one channel and one hour"],
      [
        "channel token --channel 'room:*' --channel system --json",
        "one for several, with all that is known of it",
      ],
    ],
  },
  publish: {
    run: publish,
    flags: {
      ...JSON_FLAG("Print JSON: topic, bytes, json, heard, redis."),
      ...only("redis-url", "prefix"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [
      { name: "topic", description: "Where to: to:<channel>:<event>.", required: true },
      {
        name: "payload",
        description: "What to say, usually JSON; without it, or as -, standard input is read.",
        required: false,
      },
    ],
    description: "Speak to the clients of a channel, as a backend does.",
    examples: [
      [`channel publish to:system:update '{"a":1}'`, "every client in system gets the event update"],
      ["channel publish to:maps:tile < tile.png", "a binary message, from a file"],
    ],
  },
  watch: {
    run: watch,
    flags: {
      count: { type: "string", valueHint: "NUMBER", description: "End after so many messages." },
      ...JSON_FLAG(
        "Print one JSON object a line: time, direction, channel, event, topic, payload or base64.",
      ),
      ...only("redis-url", "prefix"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [
      {
        name: "pattern",
        description: "What to show, as Redis' patterns go. Default: to:* and from:*.",
        required: false,
        several: true,
      },
    ],
    description: "Show what goes by between backends and clients, live.",
    examples: [
      ["channel watch", "both directions"],
      ["channel watch 'from:*' --json", "what clients say, for a program"],
    ],
  },
  bench: {
    run: bench,
    flags: {
      clients: number("clients", "COUNT", "How many connect; each joins one channel."),
      rate: number("rate", "NUMBER", "Messages a second, in all channels together."),
      payload: number("payload", "SIZE", "Bytes of a message: 100, 10KB."),
      channels: number("channels", "COUNT", "How many channels the clients are spread over."),
      for: number("for", "DURATION", "How long messages are sent: 30s, 5m."),
      "yes-i-own-this-server": {
        type: "boolean",
        description: "Go ahead although the server or its Redis is another machine.",
      },
      ...JSON_FLAG("Print JSON: what was asked for, and what was found."),
      ...only("redis-url", "prefix", "jwt-secret"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [{ name: "url", description: "The server: ws://127.0.0.1:2025.", required: true }],
    description: "Put load on a server of yours, and tell what it takes.",
    examples: [
      [
        "channel bench --clients 1000 --rate 50 --payload 100 ws://127.0.0.1:2025",
        "a thousand clients in one channel, each gets fifty messages a second",
      ],
      [
        "channel bench --clients 1000 --channels 1000 --rate 5000 --for 1m ws://127.0.0.1:2025",
        "a channel for each client, five messages a second in each, for a minute",
      ],
    ],
  },
  config: {
    run: config,
    flags: { ...FLAGS, ...JSON_FLAG("Print JSON.") },
    description: "Print what is in force, and where each value came from.",
    examples: [["channel config", "a table; secrets are stars"]],
  },
  completion: {
    run: completion(() => COMMANDS),
    flags: ALWAYS,
    operands: [{ name: "shell", description: "Whose completion.", required: true, words: SHELLS }],
    description: "Print a script that completes commands and flags in a shell.",
    examples: [
      ['eval "$(channel completion bash)"', "in ~/.bashrc"],
      ['eval "$(channel completion zsh)"', "in ~/.zshrc, behind compinit"],
      ["channel completion fish > ~/.config/fish/completions/channel.fish", "once"],
    ],
  },
  manual: {
    run: manual(() => COMMANDS),
    flags: ALWAYS,
    description: "Show the manual page; in a pipe, print its source.",
    examples: [["channel manual > /usr/local/share/man/man1/channel.1", "installs it"]],
  },
};
