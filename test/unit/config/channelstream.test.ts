import { expect, test } from "bun:test";
import { good, load, refusal, toml } from "./workspace.ts";

test("Channelstream's secret comes from the file or from CHANNELSTREAM_SECRET, and is never shown", () => {
  expect(good().channelstream.secret).toBeNull();
  expect(good(toml('[channelstream]\nsecret = "from the file"')).channelstream.secret).toBe("from the file");
  const loaded = load({ env: { CHANNELSTREAM_SECRET: "from the environment" } });
  if (!loaded.ok) throw new Error(loaded.message);
  expect(loaded.config.channelstream.secret).toBe("from the environment");
  expect(loaded.sources.get("channelstream.secret")?.printed).toBe("********");
});

test("its keys are read as everything else is: durations, lists, sizes, in file and environment", () => {
  const text = `[channelstream]
wake_connections_after = "2s"
gc_conns_after = 30
gc_users_after = "2d"
allow_posting_from = ["192.0.2.1", "0.0.0.0", "2001:DB8:0::1"]
allow_cors = ["example.org"]
validate_requests = false
max_stored = "1GiB"`;
  expect(good({ ...toml(text), env: { CHANNELSTREAM_LEGACY_DATE: "true" } }).channelstream).toMatchObject({
    wakeConnectionsAfter: 2000,
    gcConnsAfter: 30_000,
    gcUsersAfter: 172_800_000,
    allowPostingFrom: ["192.0.2.1", "0.0.0.0", "2001:db8::1"],
    allowCors: ["example.org"],
    validateRequests: false,
    maxStored: 1 << 30,
    legacyDate: true,
  });
});

test("an address that is none, a key that there is not and a duration out of bounds are refused by name", () => {
  expect(refusal(toml('[channelstream]\nallow_posting_from = ["example.org"]'))).toMatch(
    /^2: .*channelstream\.allow_posting_from must be a list of IP addresses/,
  );
  expect(refusal(toml('[channelstream]\nadmin_secret = "x"'))).toMatch(
    /^2: .*unknown key channelstream\.admin_secret;/,
  );
  expect(refusal(toml("[channelstream]\nwake_connections_after = 1000"))).toMatch(
    /^2: .*channelstream\.wake_connections_after must be a duration/,
  );
});

test("a secret known from examples is refused beyond loopback, and good on it", () => {
  const text = '[channelstream]\nsecret = "secret"';
  expect(good(toml(text)).channelstream.secret).toBe("secret");
  expect(refusal(toml(`host = "0.0.0.0"\n${text}`))).toMatch(
    /channelstream\.secret is a secret known from examples/,
  );
});
