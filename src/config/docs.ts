import {
  API_KEY,
  CHANNEL,
  CHANNELSTREAM,
  CLAIMS,
  fullKey,
  LIMITS,
  type Setting,
  snake,
  type Table,
  TOP,
} from "./settings.ts";
import type { Printed } from "./value-types.ts";

/** What there is to say about a key, its values in the form in which they are written: for files and manuals. */
export interface Fact {
  /** The section that it stands in; the top level has none. */
  readonly section: string;
  /** As it is written in its section: `max_frame`. */
  readonly name: string;
  /** With its section: `limits.max_frame`. */
  readonly key: string;
  readonly doc: string;
  readonly expects: string;
  readonly standard: Printed;
  /** The default where the file is a tangram.toml, if that is another one. */
  readonly tangram?: Printed;
  readonly flag: string | null;
  readonly secret: boolean;
  /** Whether it is the path of a file or folder and nothing else. */
  readonly path: boolean;
}

function factsOf<T>(section: string, table: Table<T>): Fact[] {
  const facts: Fact[] = [];
  for (const name in table) {
    const {
      kind,
      default: standard,
      tangram,
      doc,
      flag,
      secret,
      path,
    }: Setting<T[typeof name]> = table[name];
    facts.push({
      section,
      name: snake(name),
      key: fullKey(section, name),
      doc,
      expects: kind.expects,
      standard: kind.print(standard),
      ...(tangram === undefined ? {} : { tangram: kind.print(tangram) }),
      flag: flag ?? null,
      secret: secret !== undefined,
      path: path === "path",
    });
  }
  return facts;
}

/** Every key but those of `[channels."<pattern>"]` and `[[api_keys]]`, in the order of the documentation. */
export const FACTS: readonly Fact[] = [
  ...factsOf("", TOP),
  ...factsOf("claims", CLAIMS),
  ...factsOf("limits", LIMITS),
  ...factsOf("channelstream", CHANNELSTREAM),
];

/** The keys of `[channels."<pattern>"]`. */
export const CHANNEL_FACTS: readonly Fact[] = factsOf('channels."<pattern>"', CHANNEL);

/** The keys of each `[[api_keys]]`. */
export const API_KEY_FACTS: readonly Fact[] = factsOf("api_keys", API_KEY);
