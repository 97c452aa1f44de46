import type { ArgsDef } from "citty";
import { flagName, snake, TOP } from "../config/settings.ts";
import { BENCH_DEFAULTS } from "./bench-defaults.ts";
import type { Command, Definitions } from "./command.ts";

/** The shells that `channel completion` writes for. */
const SHELLS = ["bash", "zsh", "fish"] as const;

/** The command that runs if none is named. */
export const DEFAULT_COMMAND = "serve";

const SETTING_FLAGS: ArgsDef = Object.fromEntries(
  Object.entries(TOP).flatMap(([name, { flag, doc, default: defaultValue }]) => {
    if (flag === undefined) return [];
    const description =
      defaultValue === null || defaultValue === "" ? doc : `${doc} Default: ${defaultValue}.`;
    return [[flagName(snake(name)), { type: "string" as const, valueHint: flag, description }]];
  }),
);

const CONFIG: ArgsDef = {
  config: {
    type: "string",
    valueHint: "FILE",
    description: "Configuration file, instead of channel.toml, tangram.toml or /etc/channel/channel.toml.",
  },
};
const ALWAYS: ArgsDef = {
  help: { type: "boolean", alias: "h", description: "Print this help." },
  version: { type: "boolean", alias: "v", description: "Print the version." },
};

/** Flags of `serve`, and of `channel` without a command. */
export const FLAGS: ArgsDef = { ...SETTING_FLAGS, ...CONFIG, ...ALWAYS };

const JSON_FLAG = (what: string): ArgsDef => ({ json: { type: "boolean", description: what } });

/**
 * Loads the module of a command when the command runs: the server loads no other command, and no command loads the server.
 */
function lazy(load: () => Promise<Command>): Command {
  return async (args, context) => (await load())(args, context);
}

function number(name: keyof typeof BENCH_DEFAULTS, valueHint: string, what: string): ArgsDef[string] {
  return { type: "string", valueHint, description: `${what} Default: ${BENCH_DEFAULTS[name]}.` };
}

function only(...names: readonly string[]): ArgsDef {
  return Object.fromEntries(Object.entries(FLAGS).filter(([name]) => names.includes(name)));
}

const WORKING: Definitions = {
  serve: {
    run: lazy(async () => (await import("./serve.ts")).serve),
    flags: FLAGS,
    description: "Run the server (default).",
    examples: [
      ["channel", "runs the server with the configuration that it finds, or with defaults"],
      ["channel --port 4000 --redis-url redis://127.0.0.1:6379", "runs it on this port with this Redis"],
    ],
  },
  init: {
    run: lazy(async () => (await import("./init.ts")).init),
    flags: {
      from: {
        type: "string",
        valueHint: "FILE",
        description: "Migrate a configuration of Channelstream (config.ini) or Tangram (tangram.toml).",
      },
      tangram: {
        type: "boolean",
        description: "Write it for a server beside Tangram, from tangram.toml (or --from).",
      },
      docker: {
        type: "boolean",
        description: "Write compose.yaml, Containerfile and secrets, and copy the executable.",
      },
      systemd: {
        type: "boolean",
        description: "Write channel.service, channel.toml, secrets and install.sh, and copy the executable.",
      },
      config: { type: "string", valueHint: "FILE", description: "File to write. Default: channel.toml." },
      ...ALWAYS,
    },
    description: "Write a commented channel.toml with new secrets; existing files are not overwritten.",
    examples: [
      ["channel init", "writes channel.toml"],
      [
        "channel init --from tangram.toml",
        "migrates the address, Redis and secret of a Tangram installation",
      ],
      ["channel init --tangram", "a server beside Tangram, with its Redis and secret"],
      ["channel init --docker", "in an empty folder: what docker compose up needs"],
      ["channel init --systemd", "in an empty folder: a service; sudo sh install.sh installs it"],
    ],
  },
  reload: {
    run: lazy(async () => (await import("./reload.ts")).reload),
    flags: { ...only("host", "port", "base-path"), ...CONFIG, ...ALWAYS },
    description: "Replace the running server by a new process, on the same port; ends when that one serves.",
    examples: [
      [
        "channel reload --config /etc/channel/channel.toml",
        "starts the executable and the configuration as they are now; clients reconnect to it",
      ],
    ],
  },
  token: {
    run: lazy(async () => (await import("./token.ts")).token),
    flags: {
      channel: {
        type: "string",
        valueHint: "CHANNEL",
        description: "Channel that the token allows, or a pattern such as room:*; can be repeated.",
      },
      for: {
        type: "string",
        valueHint: "USER",
        description: "User id; without --channel the token allows the user's own channel, user:USER.",
      },
      id: { type: "string", valueHint: "ID", description: "The same as --for. Default: a random id." },
      can: {
        type: "string",
        valueHint: "ABILITIES",
        description: "What the token allows: join, push, presence, separated by commas. Default: all.",
      },
      "expires-in": {
        type: "string",
        valueHint: "DURATION",
        description: "Lifetime: 90 (seconds), 10m, 1h, 7d. Default: jwt_expiration_secs.",
      },
      ...JSON_FLAG("Print JSON: id, channel or channels, can, token, expires_at."),
      ...only("jwt-secret", "jwt-expiration-secs", "id-length"),
      ...CONFIG,
      ...ALWAYS,
    },
    description: "Sign a token with the configured secret; needs no running server.",
    examples: [
      ["channel token --channel system --id alice --expires-in 1h", "a token for one channel and one hour"],
      ["channel token --channel 'room:*' --channel system --json", "a token for several channels, as JSON"],
      ["channel token --for alice", "a token for the channel user:alice"],
      ["channel token --channel news --can join", "a token that reads and does not push"],
    ],
  },
  publish: {
    run: lazy(async () => (await import("./publish.ts")).publish),
    flags: {
      ...JSON_FLAG("Print JSON: topic, bytes, json, heard, servers, clients, redis."),
      ...only("redis-url", "prefix"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [
      { name: "topic", description: "Topic: to:<channel>:<event>.", required: true },
      {
        name: "payload",
        description: "Message, usually JSON; - or none: read standard input.",
        required: false,
      },
    ],
    description: "Publish a message to the clients of a channel, as a backend does.",
    examples: [
      [`channel publish to:system:update '{"a":1}'`, "sends the event update to every client in system"],
      ["channel publish to:maps:tile < tile.png", "sends a binary message from a file"],
    ],
  },
  watch: {
    run: lazy(async () => (await import("./watch.ts")).watch),
    flags: {
      from: { type: "boolean", description: "Show messages from clients only." },
      to: { type: "boolean", description: "Show messages to clients only." },
      event: {
        type: "string",
        valueHint: "EVENT",
        description: "Show this event only; a pattern such as job_*. Can be repeated.",
      },
      count: { type: "string", valueHint: "NUMBER", description: "Stop after this number of messages." },
      ...JSON_FLAG(
        "Print one JSON object per line: time, direction, channel, event, topic, payload or base64.",
      ),
      ...only("redis-url", "prefix"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [
      {
        name: "channel",
        description:
          "Channels to show, names or patterns such as room:*; or topics (to:, from:, push:), as Redis patterns. Default: all channels.",
        required: false,
        several: true,
      },
    ],
    description: "Show messages between backends and clients, live.",
    examples: [
      ["channel watch", "messages of all channels in both directions"],
      ["channel watch 'room:*' --event say", "the event say in channels that begin with room:"],
      ["channel watch --from --json", "messages of clients, as JSON lines"],
    ],
  },
  bench: {
    run: lazy(async () => (await import("./bench.ts")).bench),
    flags: {
      clients: number("clients", "COUNT", "Number of clients; each joins one channel."),
      rate: number("rate", "NUMBER", "Messages per second, all channels together."),
      payload: number("payload", "SIZE", "Size of a message: 100, 10KB."),
      channels: number("channels", "COUNT", "Number of channels; the clients are distributed evenly."),
      for: number("for", "DURATION", "How long to publish: 30s, 5m."),
      "yes-i-own-this-server": {
        type: "boolean",
        description: "Required if the server or its Redis is on another machine.",
      },
      ...JSON_FLAG("Print JSON: parameters and results."),
      ...only("redis-url", "prefix", "jwt-secret"),
      ...CONFIG,
      ...ALWAYS,
    },
    operands: [{ name: "url", description: "Address of the server: ws://127.0.0.1:2025.", required: true }],
    description: "Load-test a server of yours: throughput, latency, CPU and memory.",
    examples: [
      [
        "channel bench --clients 1000 --rate 50 --payload 100 ws://127.0.0.1:2025",
        "1000 clients in one channel, each receives 50 messages per second",
      ],
      [
        "channel bench --clients 1000 --channels 1000 --rate 5000 --for 1m ws://127.0.0.1:2025",
        "1000 channels with one client each, 5 messages per second in each, for a minute",
      ],
    ],
  },
  doctor: {
    run: lazy(async () => (await import("./doctor/doctor.ts")).doctor),
    flags: { ...FLAGS, ...JSON_FLAG("Print JSON: ok, and checks with name, status, found and remedy.") },
    description:
      "Check configuration, Redis, files, certificate, clock, proxy and tokens; each finding has a remedy.",
    examples: [
      ["channel doctor", "before the start, and again while the server runs"],
      ["channel doctor --json", "for a program; exit code 1 if a check failed"],
    ],
  },
  config: {
    run: lazy(async () => (await import("./config.ts")).config),
    flags: { ...FLAGS, ...JSON_FLAG("Print JSON.") },
    description: "Print the effective configuration and the origin of each value.",
    examples: [["channel config", "prints a table; secrets are masked"]],
  },
};

/** Commands that describe the others. */
const DESCRIBING: Definitions = {
  help: {
    run: lazy(async () => (await import("./help.ts")).help(COMMANDS)),
    flags: ALWAYS,
    operands: [
      {
        name: "command",
        description: "Command to describe. Default: all, in short.",
        required: false,
        words: [...Object.keys(WORKING), "help", "completion", "manual"],
      },
    ],
    description: "Print the help of a command.",
    examples: [["channel help publish", "the same as channel publish --help"]],
  },
  completion: {
    run: lazy(async () => (await import("./completion.ts")).completion(COMMANDS)),
    flags: ALWAYS,
    operands: [{ name: "shell", description: "bash, zsh or fish.", required: true, words: SHELLS }],
    description: "Print a shell script that completes commands and flags.",
    examples: [
      ['eval "$(channel completion bash)"', "in ~/.bashrc"],
      ['eval "$(channel completion zsh)"', "in ~/.zshrc, after compinit"],
      ["channel completion fish > ~/.config/fish/completions/channel.fish", "once"],
    ],
  },
  manual: {
    run: lazy(async () => (await import("./manual.ts")).manual(COMMANDS)),
    flags: ALWAYS,
    description: "Show the manual page; in a pipe, print its source (roff).",
    examples: [["channel manual > /usr/local/share/man/man1/channel.1", "installs the manual page"]],
  },
};

export const COMMANDS: Definitions = { ...WORKING, ...DESCRIBING };
