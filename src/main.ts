import { isatty } from "node:tty";
import { type ArgsDef, type CommandDef, renderUsage } from "citty";
import { readArguments } from "./commands/arguments.ts";
import type { CommandContext, Definition } from "./commands/command.ts";
import { COMMANDS, DEFAULT_COMMAND, FLAGS, PROGRAM, SUMMARY } from "./commands/definitions.ts";
import { flushLog } from "./log.ts";
import { describeVersion } from "./version.ts";

const ROOT: CommandDef = {
  meta: { name: PROGRAM, description: SUMMARY },
  args: FLAGS,
  subCommands: Object.fromEntries(
    Object.entries(COMMANDS).map(([name, definition]) => [
      name,
      { meta: { name, description: definition.description }, args: argsOf(definition) },
    ]),
  ),
};

function argsOf({ operands = [], flags }: Definition): ArgsDef {
  const positional = operands.map(({ name, description, required }) => {
    return [name, { type: "positional" as const, description, required }] as const;
  });
  return { ...Object.fromEntries(positional), ...flags };
}

/** The help of a command, or of the program if `name` is `null`. */
async function usage(name: string | null, color: boolean): Promise<string> {
  const command = name === null ? undefined : COMMANDS[name];
  const text = await (command === undefined
    ? renderUsage(ROOT)
    : renderUsage(
        { meta: { name: name ?? "", description: command.description }, args: argsOf(command) },
        ROOT,
      ));
  const examples = (command?.examples ?? []).map(([line, does]) => `  ${line}\n      ${does}\n`).join("");
  const whole = examples === "" ? text : `${text.trimEnd()}\n\nEXAMPLES\n\n${examples}`;
  return (color ? whole : Bun.stripANSI(whole)).replace(/ +$/gm, "");
}

async function main(argv: readonly string[], context: CommandContext): Promise<number> {
  const args = readArguments(argv, COMMANDS, DEFAULT_COMMAND);
  if (!args.ok) {
    context.stderr(args.message);
    return 2;
  }
  const { command, named, switches } = args;
  if (switches.has("help")) {
    context.print(await usage(named ? command : null, context.terminal?.color ?? false));
  } else if (switches.has("version")) context.print(`${PROGRAM} ${describeVersion()}`);
  else return (await COMMANDS[command]?.run(args, context)) ?? 2;
  return 0;
}

const { env, stdout } = process;
const ended = Promise.withResolvers<void>();
// A closed pipe is not an error: "head" closes it early.
stdout.on("error", () => ended.resolve());

const code = await main(process.argv.slice(2), {
  env,
  cwd: process.cwd(),
  terminal: isatty(1) ? { columns: stdout.columns || 80, color: !env.NO_COLOR && env.TERM !== "dumb" } : null,
  print: (text) => void stdout.write(`${text}\n`),
  stderr: (line) => console.error(`${PROGRAM}: ${line}`),
  readInput: async () => (isatty(0) ? null : Buffer.from(await Bun.stdin.bytes())),
  ended() {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.once(signal, () => ended.resolve());
    return ended.promise;
  },
});
// Wait for pending writes to a pipe.
if (!isatty(1) && !stdout.destroyed) await new Promise<void>((done) => stdout.write("", () => done()));
await flushLog(500);
process.exit(code);
