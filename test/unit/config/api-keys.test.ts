import { expect, test } from "bun:test";
import { good, load, refusal, toml } from "./workspace.ts";

const KEY = "a key of a backend that is long";

test("an API key says what it may do, and with which channels", () => {
  const text = `[[api_keys]]\nname = "billing"\nkey = "${KEY}"\ncan = ["publish"]\nchannels = ["room:*", "news"]
[[api_keys]]\nkey = "another key of another backend"\ncan = ["read", "publish"]`;
  expect(good(toml(text)).apiKeys).toEqual([
    { name: "billing", keys: [KEY], can: ["publish"], channels: ["room:*", "news"] },
    {
      name: "api_keys[1]",
      keys: ["another key of another backend"],
      can: ["read", "publish"],
      channels: ["*"],
    },
  ]);
});

test("one that says too little or too much is refused with its place, and never printed", () => {
  for (const [text, expected] of [
    [`can = ["read"]`, "2: channel.toml: api_keys[0] requires key or keys"],
    [
      `key = "short"\ncan = ["read"]`,
      "2: channel.toml: api_keys[0].key must be text of at least 16 characters",
    ],
    [
      `key = "${KEY}"`,
      '2: channel.toml: api_keys[0].can must be a list of "publish", "read" and "moderate", not empty',
    ],
    [
      `key = "${KEY}"\ncan = ["rule"]`,
      '2: channel.toml: api_keys[0].can must be a list of "publish", "read" and "moderate", not "rule"',
    ],
    [
      `key = "${KEY}"\ncan = ["read"]\nchanel = []`,
      '2: channel.toml: unknown key "api_keys[0].chanel"; did you mean',
    ],
    [
      `key = "${KEY}"\ncan = ["read"]\n[[api_keys]]\nkey = "${KEY}"\ncan = ["read"]`,
      "2: channel.toml: api_keys[1].key is a duplicate",
    ],
    [
      `key = "${KEY}"\nkeys = ["${KEY}"]\ncan = ["read"]`,
      "2: channel.toml: api_keys[0] has both key and keys: remove one",
    ],
    [
      `name = "a"\nkey = "${KEY}"\ncan = ["read"]\n[[api_keys]]\nname = "a"\nkey = "${KEY}2"\ncan = ["read"]`,
      "2: channel.toml: api_keys[1].name is a duplicate",
    ],
    [`keys = ["${KEY}", "short"]\ncan = ["read"]`, "2: channel.toml: api_keys[0].keys must be a list"],
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

test("a key may be replaced by a newer one, and both are good meanwhile", () => {
  const text = `[[api_keys]]\nkeys = ["a newer key of that backend", "${KEY}"]\ncan = ["moderate"]`;
  const [key] = good(toml(text)).apiKeys;
  expect(key?.keys).toEqual(["a newer key of that backend", KEY]);
  expect(key?.can).toEqual(["moderate"]);
});
