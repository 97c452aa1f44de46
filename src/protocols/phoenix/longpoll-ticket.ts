import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** How a session starts. It is sealed into the token, so that the server stores nothing before the first use. */
export interface Ticket {
  readonly id: string;
  /** `performance.now()`. */
  readonly issuedAt: number;
  /** The bearer token of the first request's `x-phoenix-authtoken`. */
  readonly authToken: string | null;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals and opens the tokens of long-poll sessions: AES-256-GCM with a key of this process. A token cannot be guessed, read,
 * or used at another server.
 */
export class TicketSeal {
  readonly #node: string;
  readonly #key = randomBytes(32);

  /** @param node this server's id. It is the readable start of each token, for routing. */
  constructor(node: string) {
    this.#node = node;
  }

  seal(ticket: Ticket): string {
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, iv);
    const text = JSON.stringify([ticket.id, ticket.issuedAt, ticket.authToken]);
    const sealed = Buffer.concat([iv, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return `${this.#node}.${sealed.toString("base64url")}`;
  }

  /** The ticket in a token, with or without an answer number; `null` for a token that this process has not sealed. */
  open(token: string): Ticket | null {
    const [node, body = "", number] = token.split(".", 4);
    if (node !== this.#node || (number !== undefined && acknowledgedBy(token) === null)) return null;
    const sealed = Buffer.from(body, "base64url");
    if (sealed.length < IV_BYTES + TAG_BYTES || sealed.toString("base64url") !== body) return null;
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#key, sealed.subarray(0, IV_BYTES));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      const text = Buffer.concat([decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
      const [id, issuedAt, authToken] = JSON.parse(text.toString("utf8"));
      return { id, issuedAt, authToken };
    } catch {
      return null;
    }
  }
}

/** The id of the server that has sealed a token, which need not be a valid one; `null` if it has not the form of a token. */
export function nodeIn(token: string): string | null {
  return /^([0-9A-Za-z]{1,32})\.[\w-]+(\.\d{1,9})?$/.exec(token)?.[1] ?? null;
}

/** The number at the end of a token: that of the last answer that arrived. `null` without one. */
export function acknowledgedBy(token: string): number | null {
  const number = /^[^.]*\.[^.]*\.(\d{1,9})$/.exec(token)?.[1];
  return number === undefined ? null : Number(number);
}

/** The token in the answer with this number: phoenix.js polls with the newest one. */
export function withNumber(token: string, number: number): string {
  return `${token.split(".", 2).join(".")}.${number}`;
}
