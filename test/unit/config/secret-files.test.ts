import { expect, test } from "bun:test";
import { join } from "node:path";
import { folderWith, good, load, refusal } from "./workspace.ts";

const SECRET = "a-long-secret-that-nobody-could-guess";

test("a secret may lie in a file that a variable names, without the line end of an editor", () => {
  const cwd = folderWith({ jwt: `${SECRET}\n`, redis: "redis://:word@10.0.0.1:6379" });
  const env = { JWT_SECRET_FILE: join(cwd, "jwt"), CHANNEL_REDIS_URL_FILE: "redis", ADMIN_SECRET_FILE: "" };
  const config = good({ cwd, env });
  expect(config).toMatchObject({
    jwtSecret: SECRET,
    redisUrl: "redis://:word@10.0.0.1:6379",
    redisUrlGiven: true,
  });
  expect(config.adminSecretGenerated).toBe(true);
  const loaded = load({ cwd, env });
  expect(loaded.ok && loaded.sources.get("jwt_secret")).toMatchObject({
    detail: "JWT_SECRET_FILE",
    printed: "********",
  });
});

test("flags win over it, and it wins over the file", () => {
  const cwd = folderWith({ secret: SECRET, "channel.toml": 'jwt_secret = "of-the-file"' });
  const env = { JWT_SECRET_FILE: "secret" };
  expect(good({ cwd, env }).jwtSecret).toBe(SECRET);
  expect(good({ cwd, env, flags: { "jwt-secret": "of-a-flag" } }).jwtSecret).toBe("of-a-flag");
});

test("what goes wrong names the variable", () => {
  const cwd = folderWith({ empty: "\n" });
  expect(refusal({ cwd, env: { JWT_SECRET_FILE: "gone" } })).toMatch(
    /^1: JWT_SECRET_FILE: cannot read \S+gone: no such file$/,
  );
  expect(refusal({ cwd, env: { JWT_SECRET_FILE: "empty" } })).toMatch(
    /^2: JWT_SECRET_FILE: \S+empty is empty$/,
  );
  expect(refusal({ cwd, env: { JWT_SECRET: SECRET, JWT_SECRET_FILE: "empty" } })).toBe(
    "2: JWT_SECRET and JWT_SECRET_FILE are both set: remove one",
  );
  expect(refusal({ cwd, env: { CHANNEL_PORT_FILE: "x" } })).toStartWith(
    "2: unknown variable CHANNEL_PORT_FILE; ",
  );
});
