import { isatty } from "node:tty";
import { readArguments } from "./commands/arguments.ts";
import type { CommandContext } from "./commands/command.ts";
import { COMMANDS, DEFAULT_COMMAND } from "./commands/definitions.ts";
import { PROGRAM } from "./commands/program.ts";
import { flushLog } from "./log.ts";
import { describeVersion } from "./version.ts";

async function main(argv: readonly string[], context: CommandContext): Promise<number> {
  const args = readArguments(argv, COMMANDS, DEFAULT_COMMAND);
  if (!args.ok) {
    context.stderr(args.message);
    return 2;
  }
  const { command, named, switches } = args;
  if (switches.has("help")) {
    const { usage } = await import("./commands/help.ts");
    context.print(await usage(COMMANDS, named ? command : null, context.terminal?.color ?? false));
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
  // As console.error, but not red.
  note: (line) => console.warn(`${PROGRAM}: ${line}`),
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
