import { isatty } from "node:tty";
import { type ArgsDef, type CommandDef, renderUsage } from "citty";
import { readArguments } from "./commands/arguments.ts";
import type { Command, Surroundings } from "./commands/command.ts";
import { config } from "./commands/config.ts";
import { serve } from "./commands/serve.ts";
import { flagName, snake, TOP } from "./config/settings.ts";
import { describeVersion } from "./version.ts";

const SETTING_FLAGS: ArgsDef = Object.fromEntries(
  Object.entries(TOP).flatMap(([name, { flag, doc, default: standard }]) => {
    if (flag === undefined) return [];
    const description = standard === null ? doc : `${doc} Default: ${standard}.`;
    return [[flagName(snake(name)), { type: "string" as const, valueHint: flag, description }]];
  }),
);

const FLAGS: ArgsDef = {
  ...SETTING_FLAGS,
  config: {
    type: "string",
    valueHint: "FILE",
    description:
      "The configuration file, instead of channel.toml, tangram.toml or /etc/channel/channel.toml.",
  },
  help: { type: "boolean", alias: "h", description: "Print this and do nothing else." },
  version: { type: "boolean", alias: "v", description: "Print the version and do nothing else." },
};

const DEFAULT_COMMAND = "serve";

const COMMANDS: Readonly<
  Record<string, { readonly run: Command; readonly args: ArgsDef; readonly description: string }>
> = {
  serve: { run: serve, args: FLAGS, description: "Run the server; so does no command at all." },
  config: {
    run: config,
    args: { ...FLAGS, json: { type: "boolean", description: "Print JSON." } },
    description: "Print what is in force, and where each value came from.",
  },
};

const ROOT: CommandDef = {
  meta: {
    name: "channel",
    description: "A real-time hub between Phoenix Channels clients and Redis publish/subscribe",
  },
  args: FLAGS,
  subCommands: Object.fromEntries(
    Object.entries(COMMANDS).map(([name, { args, description }]) => [
      name,
      { meta: { name, description }, args },
    ]),
  ),
};

/** The help of one command, or of the whole program where none was named. */
async function usage(name: string | null): Promise<string> {
  const command = name === null ? undefined : COMMANDS[name];
  const text = await (command === undefined
    ? renderUsage(ROOT)
    : renderUsage(
        { meta: { name: name ?? "", description: command.description }, args: command.args },
        ROOT,
      ));
  const plain = isatty(1) ? text : Bun.stripANSI(text);
  return plain.replace(/ +$/gm, "");
}

async function main(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = Object.fromEntries(Object.entries(COMMANDS).map(([name, { args }]) => [name, args]));
  const given = readArguments(argv, flags, DEFAULT_COMMAND);
  if (!given.ok) {
    surroundings.complain(given.message);
    return 2;
  }
  if (given.switches.has("help")) surroundings.print(await usage(given.named ? given.command : null));
  else if (given.switches.has("version")) surroundings.print(`channel ${describeVersion()}`);
  else return (await COMMANDS[given.command]?.run(given, surroundings)) ?? 2;
  return 0;
}

const code = await main(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  print: (text) => console.log(text),
  complain: (line) => console.error(`channel: ${line}`),
});
process.exit(code);
