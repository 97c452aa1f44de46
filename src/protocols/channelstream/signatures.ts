import { type AttemptSource, type CredentialKind, FailedAttempts } from "../../auth/failed-attempts.ts";
import type { Peer } from "../../auth/peer.ts";
import { isForeign } from "../../auth/same-origin.ts";
import { checkSigned } from "../../auth/signature.ts";
import type { Config } from "../../config/config.ts";

/** The signature of a call. `waitSecs`: too many wrong ones came from the address, and this one was not checked. */
export type Credentials =
  | "signed"
  | "badly signed"
  | "none"
  | "wrong address"
  | { readonly waitSecs: number };

/** Checks the signatures of calls, and limits wrong ones by address, apart from wrong admin secrets. */
export class Signatures {
  readonly #config: Config;
  readonly #secret: string;
  readonly #addresses: ReadonlySet<string>;
  readonly #failed: FailedAttempts;

  constructor(config: Config, secret: string, audit: (source: AttemptSource, kind: CredentialKind) => void) {
    this.#config = config;
    this.#secret = secret;
    this.#addresses = new Set(config.channelstream.allowPostingFrom);
    this.#failed = new FailedAttempts(undefined, audit);
  }

  check(headers: Headers, query: URLSearchParams, { address, https }: Peer): Credentials {
    const { publicUrl, channelstream } = this.#config;
    if (!this.#addresses.has("0.0.0.0") && !this.#addresses.has(address)) return "wrong address";
    const given = headers.get("x-channelstream-secret") ?? query.get("secret");
    if (given === null || given === "") return "none";
    const source = { address, foreign: isForeign(headers, publicUrl, https) };
    const waitSecs = this.#failed.waitSecs(source);
    if (waitSecs > 0) return { waitSecs };
    const maxAge = channelstream.validateRequests ? undefined : null;
    const found = checkSigned(given, this.#secret, Date.now(), maxAge);
    // An outdated signature was made with the secret: it is no guess.
    if (found === "forged") this.#failed.count(source, "signature");
    return found === "good" ? "signed" : "badly signed";
  }
}
