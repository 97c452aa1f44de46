import { ADMIN_SECRET } from "./world.ts";

/** The most that one answer has. */
const PAGE = 1000;

interface Page {
  /** The newest position; `null` while the bus is disconnected. */
  readonly position: string | null;
  readonly messages: readonly { readonly position: string | null; readonly payload: number }[];
}

/** Follows the history of a channel over HTTP, as a client that asks for what it missed. Payloads are numbers. */
export class HistoryReader {
  /** The message at each position. */
  readonly byPosition = new Map<string, number>();
  readonly #url: string;
  readonly #headers = { authorization: `Bearer ${ADMIN_SECRET}` };
  #last: string | null = null;

  constructor(url: string, channel: string) {
    this.#url = `${url}/api/channels/${channel}/history?limit=${PAGE}`;
  }

  /** Reads what follows the last position, all of it. */
  async read(): Promise<void> {
    for (;;) {
      const response = await this.#get(this.#last);
      if (response.status === 410) {
        this.#last = null;
        continue;
      }
      if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
      const { position: newest, messages }: Page = await response.json();
      for (const { position, payload } of messages)
        if (position !== null) this.byPosition.set(position, payload);
      const isFirst = this.#last === null;
      this.#last = isFirst ? newest : (messages.at(-1)?.position ?? this.#last);
      if (isFirst || messages.length < PAGE) return;
    }
  }

  /** The message that follows a position of another server; `null` if there is none yet, or the position cannot be used here. */
  async next(position: string): Promise<number | null> {
    const response = await this.#get(position, 1);
    if (!response.ok) return null;
    const { messages }: Page = await response.json();
    return messages[0]?.payload ?? null;
  }

  get last(): string | null {
    return this.#last;
  }

  #get(since: string | null, limit = PAGE): Promise<Response> {
    const url = this.#url.replace(`limit=${PAGE}`, `limit=${limit}`);
    return fetch(since === null ? url : `${url}&since=${since}`, { headers: this.#headers });
  }
}
