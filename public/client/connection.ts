import { LongPoll, Socket, type SocketMessage } from "phoenix";
import { duration } from "../shared/format.ts";
import { element, setStatus, setText, socketAddress } from "../shared/page.ts";

export type Transport = "websocket" | "longpoll";

/** Callbacks of a connection. */
export interface ConnectionCallbacks {
  /** A new socket was created: channels must be joined on it. */
  onSocket(socket: Socket): void;
  onMessage(message: SocketMessage): void;
  /** The user disconnected or reconnected. */
  onToggle(): void;
}

const state = element("state", HTMLParagraphElement);
const since = element("since", HTMLElement);
const connectCount = element("connect-count", HTMLElement);
const transport = element("transport", HTMLSelectElement);
const toggle = element("disconnect", HTMLButtonElement);
const reconnect = element("reconnect", HTMLButtonElement);

/** The connection of the page, with a choice of transport and a button to disconnect and reconnect. */
export class Connection {
  readonly #callbacks: ConnectionCallbacks;
  readonly #name: string;
  #socket: Socket | null = null;
  #disconnected = false;
  #connectedAt = 0;
  #openCount = 0;

  constructor(name: string, callbacks: ConnectionCallbacks) {
    this.#name = name;
    this.#callbacks = callbacks;
    transport.addEventListener("change", () => this.open());
    toggle.addEventListener("click", () => (this.#disconnected ? this.reconnect() : this.disconnect()));
    reconnect.addEventListener("click", () => {
      this.reconnect();
      // The button is hidden now.
      toggle.focus();
    });
    setInterval(() => this.#render(), 1000);
  }

  /** Whether the user disconnected. */
  get disconnected(): boolean {
    return this.#disconnected;
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
      this.#openCount++;
      this.#connectedAt = Date.now();
      this.#render();
    });
    socket.onClose(() => {
      if (this.#socket !== socket) return;
      this.#connectedAt = 0;
      this.#render();
    });
    socket.onMessage((message) => this.#callbacks.onMessage(message));
    this.#disconnected = false;
    this.#connectedAt = 0;
    socket.connect();
    this.#callbacks.onSocket(socket);
    this.#render();
  }

  /** Disconnects until `reconnect` is called. */
  disconnect(): void {
    this.#disconnected = true;
    this.#connectedAt = 0;
    this.#socket?.disconnect();
    this.#render();
    this.#callbacks.onToggle();
  }

  reconnect(): void {
    this.#disconnected = false;
    this.#socket?.connect();
    this.#render();
    this.#callbacks.onToggle();
  }

  #render(): void {
    const transportName = this.transport === "longpoll" ? "long polling" : "WebSocket";
    const open = this.#connectedAt > 0;
    toggle.textContent = this.#disconnected ? "Reconnect" : "Disconnect";
    reconnect.hidden = !this.#disconnected;
    if (this.#disconnected) this.#showState("Disconnected by you", "bad");
    else if (open) this.#showState(`Connected as ${this.#name} (${transportName})`, "good");
    else this.#showState(this.#openCount === 0 ? "Connecting" : "Disconnected, reconnecting", "waiting");
    setText(since, open ? duration(Date.now() - this.#connectedAt) : "–");
    setText(connectCount, String(this.#openCount));
  }

  #showState(text: string, level: "good" | "bad" | "waiting"): void {
    if (state.textContent !== text) setStatus(state, text, level);
  }
}
