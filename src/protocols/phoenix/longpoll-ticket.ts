import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** What a session is to start with. Sealed into its token, so that the server holds nothing before the first frame. */
export interface Ticket {
  readonly id: string;
  /** By `performance.now()`. */
  readonly issuedAt: number;
  /** The bearer token of the first request's `x-phoenix-authtoken`. */
  readonly authToken: string | null;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals and opens the tokens of long-poll sessions: encrypted and authenticated (AES-256-GCM) with a key of this run, so
 * that none can be guessed, read or carried to another server.
 */
export class TicketSeal {
  readonly #node: string;
  readonly #key = randomBytes(32);

  /** @param node this server's id; stands in front of the token, in the clear, for routing. */
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

  /** `null` for whatever this server has not sealed in this run. A number behind it is no part of it. */
  open(token: string): Ticket | null {
    const [node, body = "", number] = token.split(".", 4);
    if (node !== this.#node || (number !== undefined && answerNumber(token) === null)) return null;
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

/** The number behind a session's token: that of the last answer that its holder got. `null` for none. */
export function answerNumber(token: string): number | null {
  const number = /^[^.]*\.[^.]*\.(\d{1,9})$/.exec(token)?.[1];
  return number === undefined ? null : Number(number);
}

/** A session's token as the answer with this number carries it: phoenix.js polls with the newest one. */
export function numbered(token: string, number: number): string {
  return `${token.split(".", 2).join(".")}.${number}`;
}
