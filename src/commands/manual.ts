import type { ArgsDef } from "citty";
import { FACTS, type Fact } from "../config/docs.ts";
import { variable } from "../config/settings.ts";
import { VERSION } from "../version.ts";
import type { Command, Definition, Definitions } from "./command.ts";

/** `channel manual`: the page in a terminal, by `man` where there is one; its source (roff, `man` macros) in a pipe. */
export function manual(definitions: () => Definitions): Command {
  return async (_given, { terminal, print, stderr }) => {
    const page = manualPage(definitions());
    if (terminal === null) {
      print(page);
      return 0;
    }
    const man = Bun.which("man");
    if (man === null) {
      stderr('there is no "man" on this machine; "channel --help" says the most of it');
      return 1;
    }
    const child = Bun.spawn([man, "-l", "-"], {
      stdin: Buffer.from(page),
      stdout: "inherit",
      stderr: "inherit",
    });
    return (await child.exited) === 0 ? 0 : 1;
  };
}

/** The manual page, in the `man` macros that both groff and mandoc read. */
export function manualPage(definitions: Definitions): string {
  const commands = Object.entries(definitions);
  const serve = definitions.serve?.flags ?? {};
  const lines = [
    `.TH CHANNEL 1 "" "Channel ${text(VERSION)}" "User Commands"`,
    ".SH NAME",
    "channel \\- a real\\-time hub between Phoenix Channels clients and Redis publish/subscribe",
    ".SH SYNOPSIS",
    ".B channel",
    "[\\fIcommand\\fR] [\\fIflags\\fR]",
    ".SH DESCRIPTION",
    "Browsers join channels by the Phoenix protocol (or by event groups, or by Channelstream's); backends speak to them with a",
    "plain Redis PUBLISH on \\fBto:\\fIchannel\\fB:\\fIevent\\fR and hear them on \\fBfrom:\\fIchannel\\fB:\\fIevent\\fR.",
    "Without a command, the server runs.",
    ".SH COMMANDS",
    ...commands.flatMap(([name, definition]) => ofCommand(name, definition)),
    ".SH FLAGS",
    "Flags of the server, and of each command that reads its configuration:",
    ...flagList(serve),
    ".SH CONFIGURATION",
    "Flags win over variables of the environment, these over the file, the file over defaults. The file is TOML:",
    "the one of \\fB\\-\\-config\\fR, else \\fI./channel.toml\\fR, \\fI./tangram.toml\\fR or",
    "\\fI/etc/channel/channel.toml\\fR. A key is a variable in capitals, with or without \\fBCHANNEL_\\fR before it",
    "(\\fBlimits.max_frame\\fR is \\fBLIMITS_MAX_FRAME\\fR); a secret may also come from a file that the variable",
    "with \\fB_FILE\\fR behind its name points to.",
    ...FACTS.flatMap(ofKey),
    ".SH SIGNALS",
    "SIGTERM and SIGINT end the server in order: every client is told to come back, then it exits with 0. A second one ends it at once.",
    ".SH EXIT STATUS",
    ".TP\n0\nDone.",
    ".TP\n1\nSomething is in the way: a port in use, a file that can't be read, a Redis that does not answer.",
    ".TP\n2\nThe command line or the configuration is wrong; one line says where.",
    ".SH FILES",
    ".TP\n\\fI/etc/channel/channel.toml\\fR\nThe configuration of the service.",
    ".SH SEE ALSO",
    "redis\\-cli(1), systemd.exec(5)",
  ];
  return lines.join("\n");
}

function ofCommand(name: string, { description, operands = [], flags, examples = [] }: Definition): string[] {
  const form = operands.map((operand) => {
    const shown = `\\fI${text(operand.name)}\\fR${operand.several ? " ..." : ""}`;
    return operand.required ? shown : `[${shown}]`;
  });
  const own = Object.fromEntries(
    Object.entries(flags).filter(([flag]) => !["help", "version"].includes(flag)),
  );
  return [
    `.SS channel ${text(name)} ${form.join(" ")}`.trimEnd(),
    text(description),
    ...operands.flatMap((operand) => [".TP", `\\fI${text(operand.name)}\\fR`, text(operand.description)]),
    ...(name === "serve" || name === "config" ? [] : flagList(own)),
    ...examples.flatMap(([line, does]) => [
      ".PP",
      `${text(does)}:`,
      ".PP",
      ".nf",
      `    ${text(line)}`,
      ".fi",
    ]),
  ];
}

function flagList(flags: ArgsDef): string[] {
  return Object.entries(flags).flatMap(([name, flag]) => {
    const short = "alias" in flag && typeof flag.alias === "string" ? `\\fB\\-${flag.alias}\\fR, ` : "";
    const value = flag.type === "boolean" ? "" : ` \\fI${text(flag.valueHint ?? "VALUE")}\\fR`;
    return [".TP", `${short}\\fB\\-\\-${text(name)}\\fR${value}`, text(flag.description ?? "")];
  });
}

function ofKey({ key, standard, doc }: Fact): string[] {
  const value = standard === null ? "none" : JSON.stringify(standard);
  return [
    ".TP",
    `\\fB${text(key)}\\fR (${text(value)})`,
    `${text(doc)} Variable: ${text(key === "prefix" ? `CHANNEL_${variable(key)}` : variable(key))}.`,
  ];
}

/** Text that roff takes as it is. */
function text(plain: string): string {
  return plain
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}
