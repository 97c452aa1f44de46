import { type Channel, Presence, type Socket } from "phoenix";
import { field, type StatusLevel } from "../shared/page.ts";
import { fetchToken } from "./token.ts";

/** Delay before a failed token request is repeated, in ms. */
const TOKEN_RETRY_DELAY = 3000;

export interface Status {
  readonly text: string;
  readonly level: StatusLevel;
}

/** Callbacks of a membership. */
export interface MembershipCallbacks {
  /** The status or the list of users changed. */
  onChange(): void;
}

/** Membership of one channel. It outlives the socket: call `join` with the new one. */
export class Membership {
  readonly name: string;
  readonly #user: string;
  readonly #callbacks: MembershipCallbacks;
  /** Token entered by the user; empty: the page requests one. */
  readonly #ownToken: string;
  #token = "";
  #socket: Socket | null = null;
  #channel: Channel | null = null;
  #presence: Presence | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #status: Status = { text: "waiting", level: "waiting" };
  #agent = "";
  #clientEvents: readonly string[] = [];

  constructor(name: string, user: string, ownToken: string, callbacks: MembershipCallbacks) {
    this.name = name;
    this.#user = user;
    this.#ownToken = ownToken;
    this.#callbacks = callbacks;
  }

  get status(): Status {
    return this.#status;
  }

  get joined(): boolean {
    return this.#channel?.state === "joined";
  }

  get channel(): Channel | null {
    return this.#channel;
  }

  /** `<conn_id>:<topic>:<join_ref>`; empty while not joined. */
  get agent(): string {
    return this.#agent;
  }

  /** Names and patterns of the events that it may send to other members. */
  get clientEvents(): readonly string[] {
    return this.#clientEvents;
  }

  /** Users with the number of memberships of each. */
  get users(): readonly { readonly user: string; readonly count: number }[] {
    return this.#presence?.list((user, { metas }) => ({ user, count: metas.length })) ?? [];
  }

  /** Requests a token, then joins on a socket. */
  async join(socket: Socket): Promise<void> {
    this.#detach();
    this.#socket = socket;
    const result = await this.#renewToken();
    if (this.#socket !== socket) return;
    if (result === "no response") this.#retry = setTimeout(() => void this.join(socket), TOKEN_RETRY_DELAY);
    if (result !== "renewed") return;
    const channel = socket.channel(this.name, () => ({ token: this.#token }));
    this.#channel = channel;
    this.#presence = new Presence(channel);
    this.#presence.onSync(() => this.#callbacks.onChange());
    channel.onError(() => this.#setStatus("connection lost, rejoining", "waiting"));
    channel.onClose(() => this.#channel === channel && this.#setStatus("closed by the server", "bad"));
    this.#setStatus("joining", "waiting");
    channel
      .join()
      .receive("ok", (answer) => {
        const agent = field(answer, "id");
        this.#agent = typeof agent === "string" ? agent : "";
        const events = field(answer, "client_events");
        this.#clientEvents = Array.isArray(events) ? events.map(String) : [];
        this.#setStatus("joined", "good");
      })
      .receive("error", (answer) => {
        this.#setStatus(`rejected: ${String(field(answer, "reason"))}`, "bad");
        // phoenix.js rejoins automatically and reads the token again.
        void this.#renewToken();
      })
      .receive("timeout", () => this.#setStatus("no response, rejoining", "bad"));
  }

  /** Leaves the channel until `join` is called. */
  leave(): void {
    this.#detach();
    this.#setStatus("left", "waiting");
  }

  #detach(): void {
    clearTimeout(this.#retry);
    const channel = this.#channel;
    this.#socket = null;
    this.#channel = null;
    this.#presence = null;
    this.#agent = "";
    this.#clientEvents = [];
    channel?.leave();
  }

  async #renewToken(): Promise<"renewed" | "rejected" | "no response"> {
    if (this.#ownToken !== "") {
      this.#token = this.#ownToken;
      return "renewed";
    }
    if (this.#token === "") this.#setStatus("requesting a token", "waiting");
    const answer = await fetchToken(this.name, this.#user);
    if (answer.ok) {
      this.#token = answer.token;
      return "renewed";
    }
    this.#setStatus(`no token: ${answer.error}`, "bad");
    return answer.rejected ? "rejected" : "no response";
  }

  #setStatus(text: string, level: StatusLevel): void {
    this.#status = { text, level };
    this.#callbacks.onChange();
  }
}
