import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

/** Bytes of HMAC-SHA256 that are sent, and their length as base64url. */
const SIGNATURE_BYTES = 16;
const SIGNATURE_LENGTH = 22;

/**
 * Signs what servers send each other: the first 16 bytes of HMAC-SHA256 over the name, a zero byte and the body, as base64url
 * in front of the body. Each `prefix` has its own key.
 */
export class Signer {
  readonly #keys: readonly Uint8Array[];

  /** @param secrets at least one, the newest first: the first signs, all verify */
  constructor(secrets: readonly string[], prefix: string) {
    this.#keys = secrets.map(
      (secret) => new Uint8Array(hkdfSync("sha256", secret, prefix, "channel fleet", 32)),
    );
  }

  /** The payload to publish on `name`. */
  sign(name: string, body: string): string {
    return this.#signature(name, body) + body;
  }

  /** As `sign`, for a body that is no text. */
  signBytes(name: string, body: Uint8Array): Buffer {
    return Buffer.concat([Buffer.from(this.#signature(name, body), "latin1"), body]);
  }

  /** The body of a payload received on `name`; `null` unless one of the secrets signed it. A view, valid as long as `payload`. */
  open(name: string, payload: Buffer): Buffer | null {
    if (payload.length < SIGNATURE_LENGTH) return null;
    const given = Buffer.from(payload.toString("latin1", 0, SIGNATURE_LENGTH), "base64url");
    if (given.length !== SIGNATURE_BYTES) return null;
    const body = payload.subarray(SIGNATURE_LENGTH);
    return this.#keys.some((key) => timingSafeEqual(signature(key, name, body), given)) ? body : null;
  }

  #signature(name: string, body: string | Uint8Array): string {
    const [key] = this.#keys;
    if (key === undefined) throw new Error("a signer has at least one secret");
    return signature(key, name, body).toString("base64url");
  }
}

function signature(key: Uint8Array, name: string, body: string | Uint8Array): Buffer {
  return createHmac("sha256", key).update(`${name}\0`).update(body).digest().subarray(0, SIGNATURE_BYTES);
}
