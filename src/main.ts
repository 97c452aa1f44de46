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

/** The help of one command, or of the whole program where none was named. */
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
  const given = readArguments(argv, COMMANDS, DEFAULT_COMMAND);
  if (!given.ok) {
    context.stderr(given.message);
    return 2;
  }
  const { command, named, switches } = given;
  if (switches.has("help")) {
    context.print(await usage(named ? command : null, context.terminal?.color ?? false));
  } else if (switches.has("version")) context.print(`${PROGRAM} ${describeVersion()}`);
  else return (await COMMANDS[command]?.run(given, context)) ?? 2;
  return 0;
}

const { env, stdout } = process;
const hadEnough = Promise.withResolvers<void>();
// A reader that goes away, as "head" does, is no error.
stdout.on("error", () => hadEnough.resolve());

const code = await main(process.argv.slice(2), {
  env,
  cwd: process.cwd(),
  terminal: isatty(1) ? { columns: stdout.columns || 80, color: !env.NO_COLOR && env.TERM !== "dumb" } : null,
  print: (text) => void stdout.write(`${text}\n`),
  stderr: (line) => console.error(`${PROGRAM}: ${line}`),
  readInput: async () => (isatty(0) ? null : Buffer.from(await Bun.stdin.bytes())),
  ended() {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.once(signal, () => hadEnough.resolve());
    return hadEnough.promise;
  },
});
// What is written to a pipe may still be on its way.
if (!isatty(1) && !stdout.destroyed) await new Promise<void>((done) => stdout.write("", () => done()));
await flushLog(500);
process.exit(code);
