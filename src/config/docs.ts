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
import type { PrintedValue } from "./value-types.ts";

/** Documentation of one setting: for docs/configuration.md, the template of `channel init` and the manual page. */
export interface SettingDoc {
  /** Section in the file; `""` for the top level. */
  readonly section: string;
  /** Key within its section: `max_frame`. */
  readonly name: string;
  /** Key with its section: `limits.max_frame`. */
  readonly key: string;
  readonly doc: string;
  readonly expects: string;
  readonly defaultValue: PrintedValue;
  /** Default in a tangram.toml, if it differs. */
  readonly tangram?: PrintedValue;
  readonly flag: string | null;
  readonly secret: boolean;
  /** Whether the value is always the path of a file or folder. */
  readonly path: boolean;
}

function docsOf<T>(section: string, table: Table<T>): SettingDoc[] {
  const docs: SettingDoc[] = [];
  for (const name in table) {
    const {
      type,
      default: defaultValue,
      tangram,
      doc,
      flag,
      secret,
      path,
    }: Setting<T[typeof name]> = table[name];
    docs.push({
      section,
      name: snake(name),
      key: fullKey(section, name),
      doc,
      expects: type.expects,
      defaultValue: type.print(defaultValue),
      ...(tangram === undefined ? {} : { tangram: type.print(tangram) }),
      flag: flag ?? null,
      secret: secret !== undefined,
      path: path === "path",
    });
  }
  return docs;
}

/** All settings except `[channels."<pattern>"]` and `[[api_keys]]`, in the order of the documentation. */
export const SETTING_DOCS: readonly SettingDoc[] = [
  ...docsOf("", TOP),
  ...docsOf("claims", CLAIMS),
  ...docsOf("limits", LIMITS),
  ...docsOf("channelstream", CHANNELSTREAM),
];

/** The keys of `[channels."<pattern>"]`. */
export const CHANNEL_DOCS: readonly SettingDoc[] = docsOf('channels."<pattern>"', CHANNEL);

/** The keys of `[[api_keys]]`. */
export const API_KEY_DOCS: readonly SettingDoc[] = docsOf("api_keys", API_KEY);
