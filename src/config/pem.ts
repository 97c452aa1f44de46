import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { ConfigError } from "./config-error.ts";
import { fileErrorText } from "./file.ts";
import { quoted } from "./quote.ts";
import type { Config } from "./types.ts";

interface Named {
  /** Where the path was set, for messages: `channel.toml: tls_cert`. */
  readonly place: string;
  readonly path: string;
}

/** Reads a certificate and its private key. Throws a `ConfigError` if they are unreadable or do not match. */
export function readTls(cert: Named, key: Named): NonNullable<Config["tls"]> {
  const chain = read(cert);
  const secret = read(key);
  const certificate = attempt(() => new X509Certificate(chain));
  if (certificate === null)
    throw new ConfigError(2, `${cert.place}: ${quoted(cert.path)} contains no certificate (PEM)`);
  const privateKey = attempt(() => createPrivateKey(secret));
  if (privateKey === null)
    throw new ConfigError(
      2,
      `${key.place}: ${quoted(key.path)} contains no private key (PEM, no passphrase)`,
    );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new ConfigError(
      2,
      `${key.place}: ${quoted(key.path)} does not match the certificate in ${quoted(cert.path)}`,
    );
  }
  return { cert: chain, key: secret };
}

/** Reads a public key, given as PEM text or as the path of a file; returns SPKI PEM. Throws a `ConfigError`. */
export function readPublicKey(place: string, textOrPath: string): string {
  const inline = textOrPath.includes("-----BEGIN");
  const pem = inline ? textOrPath : read({ place, path: textOrPath });
  const where = inline ? place : `${place}: ${quoted(textOrPath)}`;
  if (pem.includes("PRIVATE KEY-----"))
    throw new ConfigError(2, `${where} contains a private key; a public key is required`);
  const key = attempt(() => createPublicKey(pem));
  if (key === null || !isUsable(key)) {
    throw new ConfigError(
      2,
      `${where} must contain a public key (PEM): RSA of 2048 bits or more, EC P-256, or Ed25519`,
    );
  }
  return key.export({ type: "spki", format: "pem" }).toString();
}

function isUsable({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean {
  if (type === "rsa") return (details?.modulusLength ?? 0) >= 2048;
  return type === "ed25519" || (type === "ec" && details?.namedCurve === "prime256v1");
}

function read({ place, path }: Named): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(1, `${place}: cannot read ${quoted(path)}: ${fileErrorText(error)}`);
  }
}

function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch {
    return null;
  }
}
