import { type ArgsDef, type CommandDef, renderUsage } from "citty";
import type { Command, Definition, Definitions } from "./command.ts";
import { PROGRAM, SUMMARY } from "./program.ts";

/** `channel help [COMMAND]` prints what `channel [COMMAND] --help` prints. */
export function help(definitions: Definitions): Command {
  return async ({ operands: [name] }, { terminal, print }) => {
    print(await usage(definitions, name ?? null, terminal?.color ?? false));
    return 0;
  };
}

function rootOf(definitions: Definitions): CommandDef {
  return {
    meta: { name: PROGRAM, description: SUMMARY },
    args: definitions.serve?.flags ?? {},
    subCommands: Object.fromEntries(
      Object.entries(definitions).map(([name, definition]) => [
        name,
        { meta: { name, description: definition.description }, args: argsOf(definition) },
      ]),
    ),
  };
}

function argsOf({ operands = [], flags }: Definition): ArgsDef {
  const positional = operands.map(({ name, description, required }) => {
    return [name, { type: "positional" as const, description, required }] as const;
  });
  return { ...Object.fromEntries(positional), ...flags };
}

/** The help of a command, or of the program if `name` is `null`. */
export async function usage(definitions: Definitions, name: string | null, color: boolean): Promise<string> {
  const root = rootOf(definitions);
  const command = name === null ? undefined : definitions[name];
  const text = await (command === undefined
    ? renderUsage(root)
    : renderUsage(
        { meta: { name: name ?? "", description: command.description }, args: argsOf(command) },
        root,
      ));
  const examples = (command?.examples ?? []).map(([line, does]) => `  ${line}\n      ${does}\n`).join("");
  const whole = examples === "" ? text : `${text.trimEnd()}\n\nEXAMPLES\n\n${examples}`;
  return (color ? whole : Bun.stripANSI(whole)).replace(/ +$/gm, "");
}
