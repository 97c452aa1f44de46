import { expect, test } from "bun:test";
import { withoutSecrets } from "../../../src/commands/uncaught.ts";
import { testConfig } from "../auth/config.ts";

test("masks API keys and Channelstream's secret", () => {
  const config = testConfig();
  const text = withoutSecrets(
    {
      ...config,
      apiKeys: [{ name: "billing", keys: ["key-newer-1", "key-older-2"], can: ["read"], channels: ["*"] }],
      channelstream: { ...config.channelstream, secret: "stream-secret-3" },
    },
    `invalid value: key-newer-1 key-older-2 stream-secret-3 ${config.adminSecret}`,
  );
  expect(text).toBe("invalid value: ******** ******** ******** ********");
});
