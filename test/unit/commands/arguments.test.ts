import { describe, expect, test } from "bun:test";
import type { ArgsDef } from "citty";
import { readArguments } from "../../../src/commands/arguments.ts";

const port: ArgsDef = { port: { type: "string", valueHint: "PORT", description: "Where to listen." } };
const help: ArgsDef = { help: { type: "boolean", alias: "h" } };
const COMMANDS = {
  serve: { ...port, ...help },
  config: { ...port, ...help, json: { type: "boolean" } },
} satisfies Record<string, ArgsDef>;

function read(line: string) {
  return readArguments(line === "" ? [] : line.split(" "), COMMANDS, "serve");
}

function refused(line: string): string {
  const given = read(line);
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

  test("has short switches", () => {
    expect(read("-h")).toMatchObject({ ok: true, switches: new Set(["help"]) });
  });
});

describe("a wrong command line", () => {
  test("an unknown flag names the nearest one, though its value looks like a command", () => {
    expect(refused("--prot 5")).toBe("unknown flag --prot; did you mean --port?");
    expect(refused("serve --prot=5")).toBe("unknown flag --prot; did you mean --port?");
    expect(refused("--xyzzy")).toBe("unknown flag --xyzzy; known flags: --port, --help, --json");
    expect(refused("-x")).toBe("unknown flag -x; known flags: --port, --help, --json");
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

  test("a switch takes no value", () => {
    expect(refused("config --json=yes")).toBe("--json takes no value");
  });

  test("an unknown command names the nearest one", () => {
    expect(refused("cofnig")).toBe("unknown command cofnig; did you mean config?");
    expect(refused("toString")).toBe("unknown command toString; known commands: serve, config");
  });

  test("what is too much is named", () => {
    expect(refused("config all")).toBe("unexpected argument all: config takes flags only");
    expect(refused("config -- --json")).toBe("unexpected argument --json: config takes flags only");
    expect(refused("config a\u001b[31m")).toBe('unexpected argument "a\\u001b[31m": config takes flags only');
  });
});
