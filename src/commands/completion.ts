import type { ArgsDef } from "citty";
import type { Command, Definition, Definitions } from "./command.ts";

/** `channel completion SHELL` prints the script. */
export function completion(definitions: Definitions): Command {
  return async ({ operands: [shell = ""] }, { print }) => {
    print(completionScript(shell, definitions));
    return 0;
  };
}

/** The script for bash, zsh or fish, generated from the definitions of the commands. */
export function completionScript(shell: string, definitions: Definitions): string {
  const commands = Object.entries(definitions);
  return shell === "fish" ? forFish(commands) : shell === "zsh" ? forZsh(commands) : forBash(commands);
}

type Named = readonly (readonly [name: string, definition: Definition])[];

interface Flag {
  readonly name: string;
  readonly short: string | null;
  readonly takesValue: boolean;
  /** Allowed values, if limited. */
  readonly words: readonly string[];
  /** Kind of path, if the value is one. */
  readonly value: "file" | "folder" | null;
  readonly description: string;
}

function flagsOf(flags: ArgsDef): Flag[] {
  return Object.entries(flags).map(([name, flag]) => {
    const hint = flag.valueHint ?? "";
    return {
      name,
      short: "alias" in flag && typeof flag.alias === "string" ? flag.alias : null,
      takesValue: flag.type !== "boolean",
      words: hint.includes("|") ? hint.split("|") : [],
      value: hint === "FILE" ? "file" : hint === "FOLDER" ? "folder" : null,
      description: flag.description ?? "",
    };
  });
}

/** Allowed values of the first operand. */
function wordsOf({ operands }: Definition): readonly string[] {
  return operands?.[0]?.words ?? [];
}

function forBash(commands: Named): string {
  const values = valuesForBash(commands);
  const cases = commands.map(([name, definition]) => {
    const flags = flagsOf(definition.flags).map((flag) => `--${flag.name}`);
    return `    ${name}) words="${[...wordsOf(definition), ...flags].join(" ")}" ;;`;
  });
  const serve = flagsOf(commands.find(([name]) => name === "serve")?.[1].flags ?? {}).map(
    (flag) => `--${flag.name}`,
  );
  return `# Completion of channel for bash.
_channel() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command="" words i
  # "--flag=value" comes as three words.
  if [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if [[ $word == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-1]}; word=""; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${commands.map(([name]) => name).join("|")}) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $command:$previous in
${[...values].map(([flag, reply]) => `    ${flag}) ${reply}; return ;;`).join("\n")}
  esac
  case $command in
${cases.join("\n")}
    *) words="${[...commands.map(([name]) => name), ...serve].join(" ")}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _channel channel`;
}

/** What completes the value of a flag: by `*:--flag`, or by `command:--flag` where commands differ. */
function valuesForBash(commands: Named): ReadonlyMap<string, string> {
  const replies = new Map<string, Map<string, string | null>>();
  for (const [command, { flags }] of commands) {
    for (const { name, words, value, takesValue } of flagsOf(flags)) {
      const reply =
        words.length > 0
          ? `COMPREPLY=($(compgen -W "${words.join(" ")}" -- "$word"))`
          : value === null
            ? "COMPREPLY=()"
            : `compopt -o filenames; COMPREPLY=($(compgen ${value === "folder" ? "-d" : "-f"} -- "$word"))`;
      const byCommand = replies.get(name) ?? new Map<string, string | null>();
      replies.set(name, byCommand.set(command, takesValue ? reply : null));
    }
  }
  const values = new Map<string, string>();
  for (const [name, byCommand] of replies) {
    const agree = new Set(byCommand.values()).size === 1;
    for (const [command, reply] of byCommand) {
      if (reply !== null) values.set(`${agree ? "*" : command}:--${name}`, reply);
    }
  }
  return values;
}

/** Flags that can be given several times. */
const REPEATED: ReadonlySet<string> = new Set(["channel", "event"]);

function forZsh(commands: Named): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const described = (text: string) => text.replace(/([[\]:\\])/g, "\\$1");
  const spec = ({ name, short, takesValue, words, value, description }: Flag): string[] => {
    const action =
      words.length > 0
        ? `(${words.join(" ")})`
        : value === "file"
          ? "_files"
          : value === "folder"
            ? "_files -/"
            : "";
    const tail = `[${described(description)}]${takesValue ? `:${name}:${action}` : ""}`;
    const long = `'(${short === null ? "" : `-${short} `}--${name})'--${name}${takesValue ? "=" : ""}`;
    return [`${long}${quote(tail)}`, ...(short === null ? [] : [`-${short}${quote(tail)}`])];
  };
  const repeated = (flag: Flag) =>
    REPEATED.has(flag.name)
      ? [`'*--${flag.name}='${quote(`[${described(flag.description)}]:${flag.name}:`)}`]
      : spec(flag);
  const cases = commands.map(([name, definition]) => {
    const flags = flagsOf(definition.flags).flatMap(repeated);
    const words = wordsOf(definition);
    const operand = words.length > 0 ? [`'1:${name}:(${words.join(" ")})'`] : [];
    return `    ${name}) _arguments ${[...flags, ...operand].join(" \\\n      ")} ;;`;
  });
  const names = commands.map(
    ([name, { description }]) => `    ${quote(`${name}:${described(description)}`)}`,
  );
  const serve = flagsOf(commands.find(([name]) => name === "serve")?.[1].flags ?? {}).flatMap(spec);
  return `#compdef channel
# Completion of channel for zsh.
_channel() {
  local curcontext=$curcontext state line
  local -a commands=(
${names.join("\n")}
  )
  _arguments -C ${serve.join(" \\\n    ")} \\
    '1:command:->command' '*::argument:->argument'
  case $state in
  command) _describe command commands ;;
  argument) case $line[1] in
${cases.join("\n")}
    esac ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _channel "$@"; else compdef _channel channel; fi`;
}

function forFish(commands: Named): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const line = (condition: string, { name, short, takesValue, words, value, description }: Flag): string => {
    const parts = [`complete -c channel -n ${quote(condition)} -l ${name}`];
    if (short !== null) parts.push(`-s ${short}`);
    if (words.length > 0) parts.push(`-x -a ${quote(words.join(" "))}`);
    else if (value === "folder") parts.push("-x -a '(__fish_complete_directories)'");
    else if (takesValue) parts.push(value === "file" ? "-rF" : "-x");
    return `${parts.join(" ")} -d ${quote(description)}`;
  };
  const all = commands.map(([name]) => name).join(" ");
  const lines = ["# Completion of channel for fish.", "complete -c channel -f"];
  for (const [name, definition] of commands) {
    const none = `not __fish_seen_subcommand_from ${all}`;
    const within =
      name === "serve"
        ? `__fish_seen_subcommand_from serve; or ${none}`
        : `__fish_seen_subcommand_from ${name}`;
    lines.push(`complete -c channel -n ${quote(none)} -a ${name} -d ${quote(definition.description)}`);
    for (const flag of flagsOf(definition.flags)) lines.push(line(within, flag));
    const words = wordsOf(definition);
    if (words.length > 0) lines.push(`complete -c channel -n ${quote(within)} -a ${quote(words.join(" "))}`);
  }
  return lines.join("\n");
}
