import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { folderWith, good, load, refusal, toml } from "./workspace.ts";

const LONG = "a-long-secret-that-nobody-could-guess";

function warnings(...[input]: Parameters<typeof load>): readonly string[] {
  const loaded = load(input);
  if (!loaded.ok) throw new Error(loaded.message);
  return loaded.warnings;
}

describe("secrets", () => {
  test("one known from examples is refused beyond loopback, whichever way it came", () => {
    for (const secret of ["secret", "your-secret-key", "SECRET"]) {
      expect(refusal({ flags: { host: "0.0.0.0", "jwt-secret": secret } })).toStartWith(
        "2: --jwt-secret is a secret known from examples: not allowed outside loopback (host 0.0.0.0)",
      );
    }
    expect(refusal({ ...toml('jwt_secret = "secret"\nhost = "::"') })).toStartWith(
      "2: channel.toml: jwt_secret is a secret known",
    );
    expect(
      refusal({ ...toml('jwt_secrets = ["a new one that is quite long enough", "secret"]\nhost = "::"') }),
    ).toStartWith("2: channel.toml: jwt_secrets is a secret known");
    const hook = `jwt_secret = "${LONG}"\nadmin_secret = "${LONG}"\nhook_secret = "Replace-by-openssl-rand-base64-32"\nhost = "::"`;
    expect(refusal(toml(hook))).toStartWith("2: channel.toml: hook_secret is a secret known");
    const channelstream = { CHANNELSTREAM_SECRET: "changeme", HOST: "10.0.0.1" };
    expect(refusal({ env: channelstream })).toStartWith("2: CHANNELSTREAM_SECRET is a secret known");
    const cwd = folderWith({ "tangram.toml": '[channel]\nhost = "0.0.0.0"' });
    expect(refusal({ cwd })).toStartWith("2: jwt_secret (Tangram's default) is a secret known from examples");
  });

  test("where the host is chosen by itself, such a secret keeps to loopback, and is warned of", () => {
    const auto = (secret: string) => good({ flags: { host: "auto", "jwt-secret": secret } });
    expect([auto(LONG).host, auto("your-secret-key").host]).toEqual(["0.0.0.0", "127.0.0.1"]);
    const env = { CHANNEL_HOST: "auto", CHANNELSTREAM_SECRET: "changeme", JWT_SECRET: LONG };
    expect(good({ env }).host).toBe("127.0.0.1");
    const [first] = warnings({ env });
    expect(first).toStartWith(
      "CHANNELSTREAM_SECRET is a secret known from examples: listening on loopback only",
    );
    // Whoever names an address means it.
    expect(
      refusal({ env: { CHANNEL_HOST: "auto" }, flags: { host: "::", "jwt-secret": "secret" } }),
    ).toContain("not allowed outside loopback");
  });

  test("on loopback it is good enough, and warned of", () => {
    for (const host of [
      "127.0.0.1",
      "127.9.9.9",
      "localhost",
      "hub.localhost",
      "::1",
      "[::ffff:127.0.0.1]",
    ]) {
      expect(warnings({ flags: { host, "jwt-secret": "secret" } })).toEqual([
        "jwt_secret is shorter than 32 bytes: it can be guessed from a token",
      ]);
    }
  });

  test("under 32 bytes, one made for the run, and Tangram's default are warned of, each once", () => {
    expect(warnings({ flags: { "jwt-secret": LONG } })).toEqual([]);
    expect(warnings({ flags: { "jwt-secret": "é".repeat(16) } })).toEqual([]);
    expect(warnings({ flags: { "jwt-secret": "e".repeat(31) } })).toHaveLength(1);
    expect(warnings()).toEqual([
      "jwt_secret is not set: a random one is used, and tokens become invalid when the server restarts",
    ]);
    expect(warnings({ cwd: folderWith({ "tangram.toml": "" }) })).toEqual([
      'jwt_secret is Tangram\'s default, "secret": anyone can sign tokens',
    ]);
  });

  test("an open token endpoint beyond loopback is warned of", () => {
    const flags = { host: "0.0.0.0", "jwt-secret": LONG };
    expect(warnings({ flags })).toEqual([
      'token_endpoint is "open" on 0.0.0.0: anyone who can reach this server gets a token for *',
    ]);
    expect(warnings({ flags, env: { TOKEN_ENDPOINT: "admin" } })).toEqual([]);
    expect(warnings({ flags: { ...flags, host: "::1" } })).toEqual([]);
  });

  test("no message holds a secret", () => {
    const all = [
      ...warnings({ flags: { "jwt-secret": "hunter2" } }),
      refusal({ flags: { host: "::", "jwt-secret": "your-secret-key" } }),
    ];
    for (const message of all) expect(message).not.toMatch(/hunter2|your-secret-key/);
  });
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const spki = { type: "spki", format: "pem" } as const;
const pkcs8 = { type: "pkcs8", format: "pem" } as const;

describe("the public key of foreign tokens", () => {
  const pem = rsa.publicKey.export(spki).toString();

  test("is PEM text, or the path of a file beside the one that names it", () => {
    const cwd = folderWith({ "channel.toml": 'jwt_public_key = "keys/idp.pem"', "keys/idp.pem": pem });
    expect(good({ cwd }).jwtPublicKey).toBe(pem);
    expect(good({ env: { JWT_PUBLIC_KEY: pem } }).jwtPublicKey).toBe(pem);
    expect(good({ env: { JWT_PUBLIC_KEY: pem.replaceAll("\n", "\\n") } }).jwtPublicKey).toBe(pem);
    expect(good(toml(`jwt_public_key = """${pem}"""`)).jwtPublicKey).toBe(pem);
  });

  test("is RSA, P-256 or Ed25519", () => {
    for (const { publicKey } of [
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
      generateKeyPairSync("ed25519"),
    ]) {
      const text = publicKey.export(spki).toString();
      expect(good({ env: { JWT_PUBLIC_KEY: text } }).jwtPublicKey).toBe(text);
    }
    const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export(spki).toString();
    for (const bad of [p384, "-----BEGIN PUBLIC KEY-----\nnope\n-----END PUBLIC KEY-----"]) {
      expect(refusal({ env: { JWT_PUBLIC_KEY: bad } })).toBe(
        "2: JWT_PUBLIC_KEY must contain a public key (PEM): RSA of 2048 bits or more, EC P-256, or Ed25519",
      );
    }
  });

  test("is never a private key", () => {
    expect(refusal({ env: { JWT_PUBLIC_KEY: rsa.privateKey.export(pkcs8).toString() } })).toBe(
      "2: JWT_PUBLIC_KEY contains a private key; a public key is required",
    );
  });

  test("a file that is not there ends with 1", () => {
    const cwd = folderWith();
    expect(refusal({ cwd, env: { JWT_PUBLIC_KEY: "no.pem" } })).toBe(
      `1: JWT_PUBLIC_KEY: cannot read ${join(cwd, "no.pem")}: no such file`,
    );
  });
});

describe("files to serve", () => {
  test("a certificate needs its key, and a key its certificate", () => {
    expect(refusal(toml('tls_cert = "c.pem"'))).toBe(
      "2: channel.toml: tls_cert requires tls_key: set both or neither",
    );
    expect(refusal({ env: { TLS_KEY: "k.pem" } })).toBe("2: TLS_KEY requires tls_cert: set both or neither");
  });

  test("both are read, and must belong together", () => {
    const other = rsa.privateKey.export(pkcs8).toString();
    const cwd = folderWith({ "c.pem": CERTIFICATE, "k.pem": KEY, "other.pem": other, "no.pem": "no" });
    const tls = (cert: string, key: string) => ({ cwd, env: { TLS_CERT: cert, TLS_KEY: key } });
    expect(good(tls("c.pem", "k.pem")).tls).toEqual({ cert: CERTIFICATE, key: KEY });
    expect(refusal(tls("c.pem", "other.pem"))).toMatch(
      /^2: TLS_KEY: \S+other\.pem does not match the certificate in \S+c\.pem$/,
    );
    expect(refusal(tls("no.pem", "k.pem"))).toMatch(
      /^2: TLS_CERT: \S+no\.pem contains no certificate \(PEM\)$/,
    );
    expect(refusal(tls("c.pem", "no.pem"))).toMatch(/^2: TLS_KEY: \S+no\.pem contains no private key/);
    expect(refusal(tls("gone.pem", "k.pem"))).toMatch(
      /^1: TLS_CERT: cannot read \S+gone\.pem: no such file$/,
    );
  });

  test("static_path is a folder that is there", () => {
    const cwd = folderWith({ "pages/index.html": "", file: "" });
    expect(good({ cwd, flags: { "static-path": "pages" } }).staticPath).toBe(join(cwd, "pages"));
    expect(refusal({ cwd, flags: { "static-path": "nope" } })).toMatch(
      /^1: --static-path: cannot read \S+nope: no such file$/,
    );
    expect(refusal({ cwd, flags: { "static-path": "file" } })).toMatch(
      /^1: --static-path: cannot read \S+file: not a folder$/,
    );
  });
});

describe("secrets that replace each other", () => {
  const [NEW, OLD] = [
    "the newer secret, of more than 32 characters",
    "the older secret, of more than 32 characters",
  ];

  test("are a list, the newest first, of texts or of texts with a kid", () => {
    const config = good(
      toml(
        `jwt_secrets = [{ kid = "2027", secret = "${NEW}" }, "${OLD}"]\nadmin_secrets = ["${NEW}", "${OLD}"]`,
      ),
    );
    expect([config.jwtSecret, config.jwtKid, config.jwtSecretGenerated]).toEqual([NEW, "2027", false]);
    expect(config.olderJwtSecrets).toEqual([{ kid: null, secret: OLD }]);
    expect([config.adminSecret, config.adminSecretGenerated]).toEqual([NEW, false]);
    expect(config.olderAdminSecrets).toEqual([OLD]);
    expect(good({ env: { JWT_SECRETS: "one-secret\nanother-secret\n" } }).olderJwtSecrets).toHaveLength(1);
  });

  test("stand in place of the single one, are never printed, and each is long enough", () => {
    expect(refusal(toml(`jwt_secret = "${OLD}"\njwt_secrets = ["${NEW}"]`))).toBe(
      "2: channel.toml: jwt_secret and jwt_secrets are both set: remove one",
    );
    for (const bad of [
      "[]",
      '["x", 5]',
      '[{ kid = "a" }]',
      '[{ secret = "x", kind = "a" }]',
      '["x", "x"]',
      "[[]]",
    ]) {
      expect(refusal(toml(`jwt_secrets = ${bad}`))).toStartWith(
        "2: channel.toml: jwt_secrets must be a list, the newest first, of texts or {kid, secret}",
      );
    }
    const short = refusal(toml(`admin_secrets = ["${NEW}", "fifteen letters"]`));
    expect(short).toContain("text of at least 16 characters");
    expect(short).not.toContain(NEW);
    const loaded = load(toml(`jwt_secrets = ["${NEW}"]`));
    expect(loaded.ok && loaded.sources.get("jwt_secrets")?.printed).toBe("********");
  });

  test("the admin secret has 16 characters or more, and is warned of below 32", () => {
    expect(refusal({ env: { ADMIN_SECRET: "x" } })).toBe(
      "2: ADMIN_SECRET must be text of at least 16 characters",
    );
    const warned = (secret: string) => {
      const loaded = load({ env: { ADMIN_SECRET: secret } });
      return loaded.ok && loaded.warnings.some((warning) => warning.startsWith("admin_secret is shorter"));
    };
    expect(warned("x".repeat(31))).toBe(true);
    expect(warned("x".repeat(32))).toBe(false);
  });
});
