import { expect, test } from "bun:test";
import { good, load, refusal, toml } from "./workspace.ts";

const KEY = "a key of a backend that is long";

test("an API key says what it may do, and with which channels", () => {
  const text = `[[api_keys]]\nkey = "${KEY}"\ncan = ["publish"]\nchannels = ["room:*", "news"]
[[api_keys]]\nkey = "another key of another backend"\ncan = ["read", "publish"]`;
  expect(good(toml(text)).apiKeys).toEqual([
    { key: KEY, can: ["publish"], channels: ["room:*", "news"] },
    { key: "another key of another backend", can: ["read", "publish"], channels: ["*"] },
  ]);
});

test("one that says too little or too much is refused with its place, and never printed", () => {
  for (const [text, expected] of [
    [`can = ["read"]`, "2: channel.toml: api_keys[0] needs a key"],
    [
      `key = "short"\ncan = ["read"]`,
      "2: channel.toml: api_keys[0].key must be a text of at least 16 characters",
    ],
    [`key = "${KEY}"`, '2: channel.toml: api_keys[0].can must be a list of "publish" and "read", not empty'],
    [
      `key = "${KEY}"\ncan = ["rule"]`,
      '2: channel.toml: api_keys[0].can must be a list of "publish" and "read", not "rule"',
    ],
    [
      `key = "${KEY}"\ncan = ["read"]\nchanel = []`,
      '2: channel.toml: unknown key "api_keys[0].chanel"; did you mean',
    ],
    [
      `key = "${KEY}"\ncan = ["read"]\n[[api_keys]]\nkey = "${KEY}"\ncan = ["read"]`,
      "2: channel.toml: api_keys[1].key stands there twice",
    ],
  ] as const) {
    const said = refusal(toml(`[[api_keys]]\n${text}`));
    expect(said).toStartWith(expected);
    expect(said).not.toContain(KEY);
  }
  expect(refusal(toml("api_keys = 5"))).toContain("[[api_keys]]");
  expect(refusal(toml("api_keys = [5]"))).toContain("[[api_keys]]");
  const loaded = load(toml(`[[api_keys]]\nkey = "${KEY}"\ncan = ["read"]`));
  expect(loaded.ok && loaded.sources.get("api_keys[0].key")?.printed).toBe("********");
});
