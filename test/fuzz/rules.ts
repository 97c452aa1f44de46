/** The permissions in which the fuzzer's tokens differ. */
export interface Claims {
  readonly user: string;
  readonly channels: readonly string[];
  readonly join: boolean;
  readonly push: boolean;
}

/** The rules of names and tokens, implemented a second time. */
export const nameRules = {
  channel: (name: string): boolean => isName(name),
  event: (name: string): boolean => isName(name) && !name.includes(":"),
  /** None of the fuzzer's tokens is an administrator's. */
  covers: ({ channels }: Claims, topic: string): boolean =>
    topic !== "admin" &&
    channels.some((each) => each === topic || (each.endsWith("*") && topic.startsWith(each.slice(0, -1)))),
} as const;

function isName(name: string): boolean {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > 255) return false;
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0xd800 && code <= 0xdfff)) return false;
  }
  return true;
}
