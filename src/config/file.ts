import { readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { parse, TomlDate, TomlError } from "smol-toml";
import { ConfigError } from "./config-error.ts";
import { quoted } from "./quote.ts";
import { API_KEY, CHANNEL, fullKey, SECTIONS, snake } from "./settings.ts";
import { hint } from "./suggest.ts";

/** A value of the file and its key as written there (`channel.port` in a tangram.toml is our `port`). */
export interface FileValue {
  readonly value: unknown;
  readonly label: string;
}

/** A parsed configuration file, by full key. Keys are checked, values are not. */
export interface ConfigFile {
  /** For messages: the path given by the operator, or the one that was found. */
  readonly name: string;
  /** Absolute path. */
  readonly path: string;
  /** Base of relative paths in the file. */
  readonly folder: string;
  readonly tangram: boolean;
  readonly values: ReadonlyMap<string, FileValue>;
  /** `[channels."<pattern>"]`, in the order of the file. */
  readonly channels: readonly { readonly pattern: string; readonly values: ReadonlyMap<string, FileValue> }[];
  /** `[[api_keys]]`, in the order of the file. */
  readonly apiKeys: readonly ReadonlyMap<string, FileValue>[];
}

/**
 * Reads the named file, else the first of `channel.toml`, `tangram.toml` and `system`; `null` if none exists. Throws a
 * `ConfigError`: exit code 1 if a file cannot be read, 2 if its content is invalid.
 */
export function readConfigFile(cwd: string, named: string | undefined, system: string): ConfigFile | null {
  for (const name of named === undefined ? ["channel.toml", "tangram.toml", system] : [named]) {
    const path = resolve(cwd, name);
    const text = read(path, name, named !== undefined);
    if (text !== null) return parseConfigFile(name, path, text);
  }
  return null;
}

function read(path: string, name: string, required: boolean): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!required && fileErrorText(error) === NO_FILE) return null;
    throw new ConfigError(1, `cannot read ${quoted(name)}: ${fileErrorText(error)}`);
  }
}

const NO_FILE = "no such file";

/** Describes an error of the file system. */
export function fileErrorText(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code === "ENOENT" || code === "ENOTDIR") return NO_FILE;
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "is a folder";
  if (code === "ENOSPC" || code === "EDQUOT") return "the disk is full";
  if (code === "EROFS") return "the file system is read-only";
  if (code === "EMFILE" || code === "ENFILE") return "too many files are open (ulimit -n, LimitNOFILE)";
  return typeof code === "string" && code !== "" ? code : "unreadable";
}

type Group = Record<string, unknown>;

function isGroup(value: unknown): value is Group {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof TomlDate);
}

function parseConfigFile(name: string, path: string, text: string): ConfigFile {
  const place = quoted(name);
  let root: Group;
  try {
    root = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n", 1)[0]?.replace(/^Invalid TOML document: /, "");
    throw new ConfigError(2, `${place}: line ${error.line}, column ${error.column}: ${what}`);
  }
  // Other sections of a tangram.toml belong to other programs.
  const tangram = /^tangram\b.*\.toml$/i.test(basename(path));
  const group = tangram ? root.channel : root;
  const found = new FileParser(place, tangram ? "channel." : "");
  if (tangram && isGroup(root.core) && root.core.redis_url !== undefined) {
    found.values.set("redis_url", { value: root.core.redis_url, label: "core.redis_url" });
  }
  if (group !== undefined && !isGroup(group))
    throw new ConfigError(2, `${place}: channel must be a section: [channel]`);
  if (group !== undefined) found.collect(group);
  const { values, channels, apiKeys } = found;
  return { name, path, folder: dirname(path), tangram, values, channels, apiKeys };
}

const KNOWN = new Map(
  Object.entries(SECTIONS).flatMap(([section, table]) =>
    Object.keys(table).map((name) => [fullKey(section, name), section] as const),
  ),
);
const KNOWN_OF_CHANNEL = Object.keys(CHANNEL).map(snake);
const KNOWN_OF_API_KEY = Object.keys(API_KEY).map(snake);

class FileParser {
  readonly values = new Map<string, FileValue>();
  readonly channels: { pattern: string; values: Map<string, FileValue> }[] = [];
  readonly apiKeys: Map<string, FileValue>[] = [];
  readonly #place: string;
  readonly #prefix: string;

  constructor(place: string, prefix: string) {
    this.#place = place;
    this.#prefix = prefix;
  }

  collect(group: Group): void {
    for (const [key, value] of Object.entries(group)) {
      if (KNOWN.get(key) === "") this.values.set(key, { value, label: this.#prefix + key });
      else if (key === "channels") this.#patterns(value);
      else if (key === "api_keys") this.#keys(value);
      else if (key !== "" && Object.hasOwn(SECTIONS, key)) this.#section(key, value);
      else throw this.#unknown(key, key, [...KNOWN.keys(), "channels", "api_keys"]);
    }
  }

  #section(section: string, value: unknown): void {
    if (!isGroup(value)) throw this.#noSection(section);
    for (const [name, inner] of Object.entries(value)) {
      const key = `${section}.${name}`;
      if (KNOWN.get(key) !== section) throw this.#unknown(key, name, KNOWN.keys());
      this.values.set(key, { value: inner, label: this.#prefix + key });
    }
  }

  #patterns(value: unknown): void {
    if (!isGroup(value)) throw this.#noSection('channels."<pattern>"');
    for (const [pattern, inner] of Object.entries(value)) {
      const section = `channels.${JSON.stringify(pattern)}`;
      if (!isGroup(inner)) throw this.#noSection(`channels."<pattern>"`);
      if (pattern === "" || !pattern.isWellFormed() || /[\u0000-\u001f\u007f-\u009f]/.test(pattern)) {
        throw new ConfigError(
          2,
          `${this.#place}: ${quoted(pattern)} under [channels] is not a channel name or pattern`,
        );
      }
      const values = new Map<string, FileValue>();
      for (const [name, written] of Object.entries(inner)) {
        const key = `${section}.${name}`;
        if (!KNOWN_OF_CHANNEL.includes(name)) throw this.#unknown(key, name, KNOWN_OF_CHANNEL);
        values.set(name, { value: written, label: this.#prefix + key });
      }
      this.channels.push({ pattern, values });
    }
  }

  #keys(value: unknown): void {
    const place = `${this.#place}: ${this.#prefix}api_keys`;
    if (!Array.isArray(value)) throw new ConfigError(2, `${place} must be a list of sections: [[api_keys]]`);
    for (const [index, inner] of value.entries()) {
      if (!isGroup(inner)) throw new ConfigError(2, `${place} must be a list of sections: [[api_keys]]`);
      const values = new Map<string, FileValue>();
      for (const [name, written] of Object.entries(inner)) {
        const key = `api_keys[${index}].${name}`;
        if (!KNOWN_OF_API_KEY.includes(name)) throw this.#unknown(key, name, KNOWN_OF_API_KEY);
        values.set(name, { value: written, label: this.#prefix + key });
      }
      this.apiKeys.push(values);
    }
  }

  #noSection(section: string): ConfigError {
    return new ConfigError(
      2,
      `${this.#place}: ${this.#prefix}${section.split(".", 1)[0]} must be a section: [${this.#prefix}${section}]`,
    );
  }

  #unknown(key: string, name: string, known: Iterable<string>): ConfigError {
    const place = `${this.#place}: unknown key ${quoted(this.#prefix + key)}`;
    return new ConfigError(2, `${place}; ${hint(name, [...known], "keys")}`);
  }
}
