import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { Refusal } from "./config-error.ts";
import { why } from "./file.ts";
import { quoted } from "./quote.ts";
import type { Config } from "./types.ts";

interface Named {
  /** Where the path was set, for messages. */
  readonly place: string;
  readonly path: string;
}

/** The certificate and its key, read and known to belong together. Throws a `Refusal` where they are not. */
export function readTls(cert: Named, key: Named): NonNullable<Config["tls"]> {
  const chain = read(cert);
  const secret = read(key);
  const certificate = attempt(() => new X509Certificate(chain));
  if (certificate === null)
    throw new Refusal(2, `${cert.place}: ${quoted(cert.path)} holds no certificate (PEM)`);
  const privateKey = attempt(() => createPrivateKey(secret));
  if (privateKey === null)
    throw new Refusal(2, `${key.place}: ${quoted(key.path)} holds no private key (PEM, no passphrase)`);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Refusal(
      2,
      `${key.place}: ${quoted(key.path)} does not belong to the certificate in ${quoted(cert.path)}`,
    );
  }
  return { cert: chain, key: secret };
}

/** A public key given as PEM text or as the path of a file, as SPKI PEM. Throws a `Refusal` where it is none. */
export function readPublicKey(place: string, textOrPath: string): string {
  const inline = textOrPath.includes("-----BEGIN");
  const pem = inline ? textOrPath : read({ place, path: textOrPath });
  const where = inline ? place : `${place}: ${quoted(textOrPath)}`;
  if (pem.includes("PRIVATE KEY-----"))
    throw new Refusal(2, `${where} holds a private key; only the public one belongs here`);
  const key = attempt(() => createPublicKey(pem));
  if (key === null || !isUsable(key)) {
    throw new Refusal(
      2,
      `${where} must hold a public key in PEM: RSA of 2048 bits or more, EC P-256, or Ed25519`,
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
    throw new Refusal(1, `${place}: cannot read ${quoted(path)}: ${why(error)}`);
  }
}

function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch {
    return null;
  }
}
