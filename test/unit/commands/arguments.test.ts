import { describe, expect, test } from "bun:test";
import type { ArgsDef } from "citty";
import { readArguments } from "../../../src/commands/arguments.ts";
import type { Definition } from "../../../src/commands/command.ts";

const port: ArgsDef = { port: { type: "string", valueHint: "PORT", description: "Where to listen." } };
const help: ArgsDef = { help: { type: "boolean", alias: "h" } };
const channel: ArgsDef = { channel: { type: "string", valueHint: "CHANNEL", description: "Which one." } };
const COMMANDS: Record<string, Pick<Definition, "flags" | "operands">> = {
  serve: { flags: { ...port, ...help } },
  config: { flags: { ...port, ...help, json: { type: "boolean" } } },
};
const WITH_OPERANDS: typeof COMMANDS = {
  ...COMMANDS,
  token: { flags: { ...channel, ...help } },
  publish: {
    flags: help,
    operands: [
      { name: "topic", description: "Where to.", required: true },
      { name: "payload", description: "What.", required: false },
    ],
  },
  watch: {
    flags: help,
    operands: [{ name: "pattern", description: "What to show.", required: false, several: true }],
  },
  completion: {
    flags: help,
    operands: [{ name: "shell", description: "Whose.", required: true, words: ["bash", "zsh"] }],
  },
};

function read(line: string) {
  return readArguments(line === "" ? [] : line.split(" "), COMMANDS, "serve");
}

function refused(line: string, commands = COMMANDS): string {
  const given = readArguments(line.split(" "), commands, "serve");
  if (given.ok) throw new Error("it was taken");
  return given.message;
}

describe("a command line", () => {
  test("names a command, or means serve", () => {
    expect(read("")).toMatchObject({ ok: true, command: "serve", named: false });
    expect(read("serve")).toMatchObject({ ok: true, command: "serve", named: true });
    expect(read("config")).toMatchObject({ ok: true, command: "config", named: true });
  });

  test("has its flags before or behind the command, and the last of one name counts", () => {
    for (const line of [
      "config --port 5",
      "--port 5 config",
      "--port=5 config",
      "--port 4 config --port=5",
    ]) {
      expect(read(line)).toMatchObject({ ok: true, command: "config", values: { port: "5" } });
    }
  });

  test("has values that begin with a dash, or are empty, behind an equals sign", () => {
    expect(read("--port=-5")).toMatchObject({ ok: true, values: { port: "-5" } });
    expect(read("--port=--help")).toMatchObject({
      ok: true,
      values: { port: "--help" },
      switches: new Set(),
    });
    expect(read("--port=a=b")).toMatchObject({ ok: true, values: { port: "a=b" } });
    expect(read("--port=")).toMatchObject({ ok: true, values: { port: "" } });
  });

  test("has operands behind the command, with flags between them", () => {
    expect(readArguments(["publish", "to:a:b", "{}"], WITH_OPERANDS, "serve")).toMatchObject({
      command: "publish",
      operands: ["to:a:b", "{}"],
    });
    expect(readArguments(["publish", "to:a:b", "--", "-5"], WITH_OPERANDS, "serve")).toMatchObject({
      operands: ["to:a:b", "-5"],
    });
    expect(readArguments(["watch", "a", "b", "c"], WITH_OPERANDS, "serve")).toMatchObject({
      operands: ["a", "b", "c"],
    });
    expect(readArguments(["publish", "--help"], WITH_OPERANDS, "serve")).toMatchObject({ ok: true });
  });

  test("returns all values of a repeated flag", () => {
    const argv = ["token", "--channel", "a", "--channel=b"];
    expect(readArguments(argv, WITH_OPERANDS, "serve")).toMatchObject({ all: { channel: ["a", "b"] } });
  });

  test("has short switches", () => {
    expect(read("-h")).toMatchObject({ ok: true, switches: new Set(["help"]) });
  });
});

describe("a wrong command line", () => {
  test("a flag of one name may take a value in one command and none in another", () => {
    const commands: typeof COMMANDS = {
      serve: { flags: help },
      init: { flags: { from: { type: "string", valueHint: "FILE" }, ...help } },
      watch: {
        flags: { from: { type: "boolean" }, ...help },
        operands: [{ name: "channel", description: "Which.", required: false, several: true }],
      },
    };
    const given = (line: string) => readArguments(line.split(" "), commands, "serve");
    for (const line of ["init --from a.toml", "--from a.toml init", "--from=a.toml init"])
      expect(given(line)).toMatchObject({ command: "init", values: { from: "a.toml" }, operands: [] });
    for (const line of ["watch --from a", "--from watch a", "watch a --from"])
      expect(given(line)).toMatchObject({
        command: "watch",
        switches: new Set(["from"]),
        operands: ["a"],
      });
    expect(given("init --from")).toMatchObject({ message: expect.stringContaining("--from=<FILE>") });
    expect(given("watch --from=a")).toMatchObject({ message: "--from does not take a value" });
    expect(given("watch --form")).toMatchObject({ message: "unknown flag --form; did you mean --from?" });
    expect(given("serve --form")).toMatchObject({ message: "unknown flag --form; known flags: --help" });
  });

  test("an unknown flag names the nearest one, though its value looks like a command", () => {
    expect(refused("--prot 5")).toBe("unknown flag --prot; did you mean --port?");
    expect(refused("serve --prot=5")).toBe("unknown flag --prot; did you mean --port?");
    expect(refused("--xyzzy")).toBe("unknown flag --xyzzy; known flags: --port, --help");
    expect(refused("-x")).toBe("unknown flag -x; known flags: --port, --help");
    expect(refused("--no-port")).toBe("unknown flag --no-port; did you mean --port?");
    expect(refused("--constructor")).toStartWith("unknown flag --constructor; ");
  });

  test("a flag of another command is none of this one", () => {
    expect(refused("serve --json")).toBe("serve has no flag --json; known flags: --port, --help");
    expect(refused("--json")).toBe("serve has no flag --json; known flags: --port, --help");
  });

  test("a missing value is not taken from the next flag", () => {
    expect(refused("--port")).toBe("--port needs a value: --port=<PORT>. Where to listen.");
    expect(refused("--port --help")).toStartWith("--port needs a value: --port=<PORT>. Where to listen. ");
  });

  test("a switch does not take a value", () => {
    expect(refused("config --json=yes")).toBe("--json does not take a value");
  });

  test("an unknown command names the nearest one", () => {
    expect(refused("cofnig")).toBe("unknown command cofnig; did you mean config?");
    expect(refused("toString")).toBe("unknown command toString; known commands: serve, config");
  });

  test("what a command needs is named, and so are the words it knows", () => {
    expect(refused("publish", WITH_OPERANDS)).toBe(
      "publish needs <topic>: channel publish <topic> [payload]. Where to.",
    );
    expect(refused("publish a b c", WITH_OPERANDS)).toBe(
      "unexpected argument c: publish takes <topic> [payload] only",
    );
    expect(refused("completion tcsh", WITH_OPERANDS)).toBe(
      "completion: <shell> must be one of bash, zsh, not tcsh",
    );
  });

  test("what is too much is named", () => {
    expect(refused("config all")).toBe("unexpected argument all: config takes flags only");
    expect(refused("config -- --json")).toBe("unexpected argument --json: config takes flags only");
    expect(refused("config a\u001b[31m")).toBe('unexpected argument "a\\u001b[31m": config takes flags only');
  });
});
