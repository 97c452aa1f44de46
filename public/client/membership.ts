import { type Channel, Presence, type Socket } from "phoenix";
import { field, type Mood } from "../shared/page.ts";
import { fetchToken } from "./token.ts";

/** How long to wait before asking for a token again, in ms. */
const TOKEN_PAUSE = 3000;

export interface State {
  readonly text: string;
  readonly mood: Mood;
}

/** What a membership tells its page. */
export interface Watcher {
  /** Its state, or who is there, is another. */
  changed(): void;
}

/** A channel that the visitor is in, or wants to be. It outlives the socket: another one is given to `enter`. */
export class Membership {
  readonly name: string;
  readonly #user: string;
  readonly #watcher: Watcher;
  /** Pasted by the visitor; such a one is not fetched anew. */
  readonly #given: string;
  #token = "";
  #socket: Socket | null = null;
  #channel: Channel | null = null;
  #presence: Presence | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #state: State = { text: "waiting", mood: "waiting" };
  #agent = "";

  constructor(name: string, user: string, given: string, watcher: Watcher) {
    this.name = name;
    this.#user = user;
    this.#given = given;
    this.#watcher = watcher;
  }

  get state(): State {
    return this.#state;
  }

  get joined(): boolean {
    return this.#channel?.state === "joined";
  }

  get channel(): Channel | null {
    return this.#channel;
  }

  /** `<conn_id>:<topic>:<join_ref>`; empty until it is joined. */
  get agent(): string {
    return this.#agent;
  }

  /** Users, and how many memberships each has. */
  get users(): readonly { readonly user: string; readonly count: number }[] {
    return this.#presence?.list((user, { metas }) => ({ user, count: metas.length })) ?? [];
  }

  /** Joins on a socket, with a token that it fetches first. */
  async enter(socket: Socket): Promise<void> {
    this.#leaveQuietly();
    this.#socket = socket;
    const renewed = await this.#renew();
    if (this.#socket !== socket) return;
    if (renewed === "silence") this.#retry = setTimeout(() => void this.enter(socket), TOKEN_PAUSE);
    if (renewed !== "renewed") return;
    const channel = socket.channel(this.name, () => ({ token: this.#token }));
    this.#channel = channel;
    this.#presence = new Presence(channel);
    this.#presence.onSync(() => this.#watcher.changed());
    channel.onError(() => this.#is("lost, trying again", "waiting"));
    channel.onClose(() => this.#channel === channel && this.#is("closed by the server", "bad"));
    this.#is("joining", "waiting");
    channel
      .join()
      .receive("ok", (answer) => {
        const agent = field(answer, "id");
        this.#agent = typeof agent === "string" ? agent : "";
        this.#is("joined", "good");
      })
      .receive("error", (answer) => {
        this.#is(`refused: ${String(field(answer, "reason"))}`, "bad");
        // phoenix.js joins again by itself, then with the new token.
        void this.#renew();
      })
      .receive("timeout", () => this.#is("no answer, trying again", "bad"));
  }

  /** Leaves for good, or until it enters again. */
  leave(): void {
    this.#leaveQuietly();
    this.#is("left", "waiting");
  }

  #leaveQuietly(): void {
    clearTimeout(this.#retry);
    const channel = this.#channel;
    this.#socket = null;
    this.#channel = null;
    this.#presence = null;
    this.#agent = "";
    channel?.leave();
  }

  async #renew(): Promise<"renewed" | "refused" | "silence"> {
    if (this.#given !== "") {
      this.#token = this.#given;
      return "renewed";
    }
    if (this.#token === "") this.#is("asking for a token", "waiting");
    const answer = await fetchToken(this.name, this.#user);
    if (answer.ok) {
      this.#token = answer.token;
      return "renewed";
    }
    this.#is(`no token: ${answer.why}`, "bad");
    return answer.refused ? "refused" : "silence";
  }

  #is(text: string, mood: Mood): void {
    this.#state = { text, mood };
    this.#watcher.changed();
  }
}
