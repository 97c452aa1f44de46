import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export type Algorithm = "RS256" | "ES256" | "EdDSA";

/** A key pair of an issuer. */
export interface IssuerKey {
  readonly alg: Algorithm;
  readonly kid: string;
  readonly publicKey: KeyObject;
  /** The public key as PEM text. */
  readonly pem: string;
  /** Signs a token with this key, whatever `alg` the header names. */
  token(claims: object, header?: object): string;
}

export function issuerKey(alg: Algorithm, kid: string): IssuerKey {
  const { publicKey, privateKey } = pair(alg);
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return {
    alg,
    kid,
    publicKey,
    pem,
    token: (claims, header = {}) => {
      const exp = Math.floor(Date.now() / 1000) + 3600;
      const signed = `${part({ alg, kid, typ: "JWT", ...header })}.${part({ exp, ...claims })}`;
      return `${signed}.${signature(alg, Buffer.from(signed), privateKey).toString("base64url")}`;
    },
  };
}

export function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function pair(alg: Algorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  if (alg === "RS256") {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    return { publicKey, privateKey: createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" })) };
  }
  if (alg === "ES256") return generateKeyPairSync("ec", { namedCurve: "P-256" });
  return generateKeyPairSync("ed25519");
}

function signature(alg: Algorithm, data: Buffer, key: KeyObject): Buffer {
  if (alg === "EdDSA") return sign(null, data, key);
  return sign("sha256", data, alg === "ES256" ? { key, dsaEncoding: "ieee-p1363" } : key);
}

/** A key set server whose answer the test sets. */
export interface KeyServer {
  /** `http://127.0.0.1:<port>/keys` */
  readonly url: string;
  /** Number of requests so far. */
  asked: number;
  /** Sets the answer from now on. */
  answer: () => Response | Promise<Response>;
  /** Answers with these keys. */
  publish(...keys: readonly IssuerKey[]): void;
  stop(): Promise<void>;
}

export function keyServer(): KeyServer {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    fetch() {
      keys.asked++;
      return keys.answer();
    },
  });
  const keys: KeyServer = {
    url: `http://127.0.0.1:${server.port}/keys`,
    asked: 0,
    answer: () => Response.json({ keys: [] }),
    publish: (...published) => {
      const list = published.map(({ publicKey, kid, alg }) => ({
        ...publicKey.export({ format: "jwk" }),
        kid,
        alg,
        use: "sig",
      }));
      keys.answer = () => Response.json({ keys: list });
    },
    stop: () => server.stop(true),
  };
  return keys;
}
