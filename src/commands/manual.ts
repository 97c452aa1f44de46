import type { ArgsDef } from "citty";
import { SETTING_DOCS, type SettingDoc } from "../config/docs.ts";
import { variable } from "../config/settings.ts";
import { VERSION } from "../version.ts";
import type { Command, Definition, Definitions } from "./command.ts";

/** `channel manual`: shows the page with `man` in a terminal; prints its source (roff, `man` macros) in a pipe. */
export function manual(definitions: Definitions): Command {
  return async (_given, { terminal, print, stderr }) => {
    const page = manualPage(definitions);
    if (terminal === null) {
      print(page);
      return 0;
    }
    const man = Bun.which("man");
    if (man === null) {
      stderr('"man" is not installed; see "channel --help"');
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
    "Browsers join channels with the Phoenix protocol (or event groups, or the Channelstream protocol). Backends send to them with a",
    "plain Redis PUBLISH on \\fBto:\\fIchannel\\fB:\\fIevent\\fR and receive their messages on \\fBfrom:\\fIchannel\\fB:\\fIevent\\fR.",
    "Without a command, channel runs the server.",
    ".SH COMMANDS",
    ...commands.flatMap(([name, definition]) => ofCommand(name, definition)),
    ".SH FLAGS",
    "Flags of the server and of commands that read its configuration:",
    ...flagList(serve),
    ".SH CONFIGURATION",
    "Flags take precedence over environment variables, variables over the file, the file over defaults. The file is TOML:",
    "that of \\fB\\-\\-config\\fR, else \\fI./channel.toml\\fR, \\fI./tangram.toml\\fR or",
    "\\fI/etc/channel/channel.toml\\fR. Variables are keys in capitals, with or without the prefix \\fBCHANNEL_\\fR",
    "(\\fBlimits.max_frame\\fR is \\fBLIMITS_MAX_FRAME\\fR); a secret can also be read from a file: the variable",
    "with the suffix \\fB_FILE\\fR names it.",
    ...SETTING_DOCS.flatMap(ofKey),
    ".SH SIGNALS",
    "SIGTERM and SIGINT stop the server gracefully: clients are asked to reconnect, then it exits with 0. A second signal stops it at once.",
    ".SH EXIT STATUS",
    ".TP\n0\nSuccess.",
    ".TP\n1\nFailure: the port is in use, a file cannot be read, Redis does not answer.",
    ".TP\n2\nThe command line or the configuration is invalid; one line says where.",
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
    ...(["serve", "config", "doctor"].includes(name) ? [] : flagList(own)),
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

function ofKey({ key, defaultValue, doc }: SettingDoc): string[] {
  const value = defaultValue === null ? "none" : JSON.stringify(defaultValue);
  const name = key === "prefix" ? `CHANNEL_${variable(key)}` : variable(key);
  return [".TP", `\\fB${text(key)}\\fR (${text(value)})`, `${text(doc)} Variable: ${text(name)}.`];
}

/** Escapes text for roff. */
function text(plain: string): string {
  return plain
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}
