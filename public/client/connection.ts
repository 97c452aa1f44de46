import { LongPoll, Socket, type SocketMessage } from "phoenix";
import { duration } from "../shared/format.ts";
import { element, put, say, socketAddress } from "../shared/page.ts";

export type Transport = "websocket" | "longpoll";

/** Told what becomes of the connection. */
export interface Listener {
  /** There is a new socket: what is joined must be joined on it. */
  renewed(socket: Socket): void;
  heard(message: SocketMessage): void;
}

const state = element("state", HTMLParagraphElement);
const since = element("since", HTMLElement);
const tries = element("tries", HTMLElement);
const transport = element("transport", HTMLSelectElement);
const toggle = element("break", HTMLButtonElement);

/** The visitor's connection: its transport can be chosen, and it can be broken and mended. */
export class Connection {
  readonly #listener: Listener;
  readonly #name: string;
  #socket: Socket | null = null;
  #broken = false;
  #openedAt = 0;
  #opened = 0;

  constructor(name: string, listener: Listener) {
    this.#name = name;
    this.#listener = listener;
    transport.addEventListener("change", () => this.open());
    toggle.addEventListener("click", () => (this.#broken ? this.mend() : this.break()));
    setInterval(() => this.#tell(), 1000);
  }

  get transport(): Transport {
    return transport.value === "longpoll" ? "longpoll" : "websocket";
  }

  open(): void {
    this.#socket?.disconnect();
    const polling = this.transport === "longpoll";
    const socket = new Socket(socketAddress(), polling ? { transport: LongPoll } : {});
    this.#socket = socket;
    socket.onOpen(() => {
      if (this.#socket !== socket) return;
      this.#opened++;
      this.#openedAt = Date.now();
      this.#tell();
    });
    socket.onClose(() => {
      if (this.#socket !== socket) return;
      this.#openedAt = 0;
      this.#tell();
    });
    socket.onMessage((message) => this.#listener.heard(message));
    this.#broken = false;
    this.#openedAt = 0;
    socket.connect();
    this.#listener.renewed(socket);
    this.#tell();
  }

  /** Takes the line down, as a network would, until it is mended. */
  break(): void {
    this.#broken = true;
    this.#openedAt = 0;
    this.#socket?.disconnect();
    this.#tell();
  }

  mend(): void {
    this.#broken = false;
    this.#socket?.connect();
    this.#tell();
  }

  #tell(): void {
    const how = this.transport === "longpoll" ? "long polling" : "WebSocket";
    const open = this.#openedAt > 0;
    toggle.textContent = this.#broken ? "Mend" : "Break";
    if (this.#broken) this.#say("Broken, until you mend it", "bad");
    else if (open) this.#say(`Connected as ${this.#name}, by ${how}`, "good");
    else this.#say(this.#opened === 0 ? "Connecting" : "Not connected, trying again", "waiting");
    put(since, open ? duration(Date.now() - this.#openedAt) : "–");
    put(tries, ["never", "once", "twice"][this.#opened] ?? `${this.#opened} times`);
  }

  #say(text: string, mood: "good" | "bad" | "waiting"): void {
    if (state.textContent !== text) say(state, text, mood);
  }
}
