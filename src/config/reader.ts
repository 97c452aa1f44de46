import { resolve } from "node:path";
import { ConfigError } from "./config-error.ts";
import { FILE_SUFFIX, isSet, PREFIX, readSecretFile } from "./environment.ts";
import type { ConfigFile, FileValue } from "./file.ts";
import { inQuotes, quoted } from "./quote.ts";
import {
  API_KEY,
  CHANNEL,
  flagName,
  fullKey,
  type Setting,
  snake,
  type Table,
  variable,
} from "./settings.ts";
import type { ApiKey, ChannelSettings, LoadInput, Origin } from "./types.ts";
import type { PrintedValue } from "./value-types.ts";

/** Finds the effective value of each key and records its origin. */
export class Reader {
  readonly sources = new Map<string, Origin>();
  readonly tangram: boolean;
  readonly #input: LoadInput;
  readonly #file: ConfigFile | null;

  constructor(input: LoadInput, file: ConfigFile | null) {
    this.#input = input;
    this.#file = file;
    this.tangram = file?.tangram ?? false;
  }

  table<T>(section: string, table: Table<T>): T {
    return fill(table, (name) => this.#value(fullKey(section, name), table[name]));
  }

  /** Whether the operator set the key: flag, variable or file. */
  given(key: string): boolean {
    return this.sources.get(key)?.source !== "default";
  }

  /** Where a key was set, and its name there, for messages. */
  place(key: string): string {
    return this.sources.get(key)?.place ?? key;
  }

  channels(): ChannelSettings[] {
    const written = [...(this.#file?.channels ?? [])].sort((a, b) => {
      const longer = stem(b.pattern).length - stem(a.pattern).length;
      // `room` is more specific than `room*`.
      return longer !== 0 ? longer : a.pattern.length - b.pattern.length;
    });
    return written.map(({ pattern, values }, index) => {
      // Missing values are inherited from the next longest pattern that covers this one.
      const covering = written.slice(index + 1).filter((other) => covers(other.pattern, pattern));
      const settings = fill(CHANNEL, (name) => {
        const source = [{ values }, ...covering].find((one) => one.values.has(snake(name)));
        const value = source?.values.get(snake(name));
        const key = `channels.${JSON.stringify(pattern)}.${snake(name)}`;
        return value === undefined
          ? this.#fromDefault(key, CHANNEL[name])
          : this.#fromFile(key, CHANNEL[name], value);
      });
      return { pattern, ...settings };
    });
  }

  apiKeys(): ApiKey[] {
    const seen = new Set<string>();
    const names = new Set<string>();
    return (this.#file?.apiKeys ?? []).map((values, index) => {
      const place = `api_keys[${index}]`;
      const found = fill(API_KEY, (name) => {
        const written = values.get(snake(name));
        const key = `${place}.${snake(name)}`;
        return written === undefined
          ? this.#fromDefault(key, API_KEY[name])
          : this.#fromFile(key, API_KEY[name], written);
      });
      const file = quoted(this.#file?.name ?? "");
      const { key, keys: list, can, channels } = found;
      if (key === "" && list === null) throw new ConfigError(2, `${file}: ${place} requires key or keys`);
      if (key !== "" && list !== null)
        throw new ConfigError(2, `${file}: ${place} has both key and keys: remove one`);
      if (can.length === 0)
        throw new ConfigError(
          2,
          `${file}: ${place}.can must be a list of "publish", "read" and "moderate", not empty`,
        );
      const keys = list === null ? [key] : list.map(({ secret }) => secret);
      for (const each of keys) {
        if (seen.has(each)) throw new ConfigError(2, `${file}: ${place}.key is a duplicate`);
        seen.add(each);
      }
      const name = found.name === "" ? place : found.name;
      if (names.has(name)) throw new ConfigError(2, `${file}: ${place}.name is a duplicate`);
      names.add(name);
      return { name, keys, can, channels };
    });
  }

  #value<T>(key: string, setting: Setting<T>): T {
    const { flags, env, cwd } = this.#input;
    const written = this.#file?.values.get(key);
    // Checked even if a flag overrides it.
    const fromFile = written === undefined ? undefined : this.#fromFile(key, setting, written);
    if (setting.flag !== undefined) {
      const flag = flags[flagName(key)];
      if (flag !== undefined) return this.#parse(key, setting, flag, cwd, "flag", `--${flagName(key)}`);
    }
    for (const name of [PREFIX + variable(key), variable(key)]) {
      const text = env[name];
      const file = setting.secret === undefined ? undefined : env[name + FILE_SUFFIX];
      if (isSet(name, text)) {
        if (file === undefined || file === "")
          return this.#parse(key, setting, text, cwd, "environment", name);
        throw new ConfigError(2, `${name} and ${name}${FILE_SUFFIX} are both set: remove one`);
      }
      if (file === undefined || file === "") continue;
      const variable = name + FILE_SUFFIX;
      return this.#parse(
        key,
        setting,
        readSecretFile(variable, resolve(cwd, file)),
        cwd,
        "environment",
        variable,
      );
    }
    return fromFile ?? this.#fromDefault(key, setting);
  }

  #fromDefault<T>(key: string, setting: Setting<T>): T {
    const tangram = this.tangram && setting.tangram !== undefined;
    const value = this.tangram ? (setting.tangram ?? setting.default) : setting.default;
    const printed = print(setting, value);
    this.sources.set(key, { source: "default", detail: tangram ? "Tangram" : "", place: key, printed });
    return value;
  }

  #fromFile<T>(key: string, setting: Setting<T>, written: FileValue): T {
    const file = quoted(this.#file?.name ?? "");
    const folder = this.#file?.folder ?? this.#input.cwd;
    return this.#parse(key, setting, written.value, folder, "file", file, `${file}: ${written.label}`);
  }

  #parse<T>(
    key: string,
    setting: Setting<T>,
    raw: unknown,
    folder: string,
    source: Origin["source"],
    detail: string,
    place = detail,
  ): T {
    const based =
      setting.path !== undefined && typeof raw === "string" ? resolved(setting.path, folder, raw) : raw;
    const value = setting.type.parse(based);
    if (value === undefined) {
      const got = setting.secret === undefined ? `, not ${shown(raw)}` : "";
      throw new ConfigError(2, `${place} must be ${setting.type.expects}${got}`);
    }
    this.sources.set(key, { source, detail, place, printed: print(setting, value) });
    return value;
  }
}

function fill<T>(table: Table<T>, value: <K extends keyof T & string>(name: K) => T[K]): T {
  const values: Partial<T> = {};
  for (const name in table) values[name] = value(name);
  // Every key of the table, hence of T, has a value now.
  return values as T;
}

function resolved(kind: "path" | "path or PEM", folder: string, text: string): string {
  if (text.trim() === "") return text;
  // Service files have a PEM in one line, with escaped line breaks.
  if (kind === "path or PEM" && text.includes("-----BEGIN")) return text.replaceAll("\\n", "\n").trim();
  return resolve(folder, text);
}

function shown(raw: unknown): string {
  if (typeof raw === "string") return inQuotes(raw);
  if (Array.isArray(raw))
    return inQuotes(raw.map((one) => (typeof one === "object" ? "..." : String(one))).join(","));
  return typeof raw === "object" ? "a section" : String(raw);
}

function print<T>(setting: Setting<T>, value: T): PrintedValue {
  const printed = setting.type.print(value);
  if (setting.secret === undefined || typeof printed !== "string") return printed;
  if (setting.secret === "all") return "********";
  // Up to the last @ before the path: a password may contain @. A query may contain a password too.
  return printed.replace(/(:\/\/[^:/@]*:)[^/]*@/, "$1********@").replace(/\?.*$/, "?********");
}

/** A pattern without its star. */
function stem(pattern: string): string {
  return pattern.endsWith("*") ? pattern.slice(0, -1) : pattern;
}

function covers(wide: string, narrow: string): boolean {
  return wide.endsWith("*") && stem(narrow).startsWith(stem(wide));
}
