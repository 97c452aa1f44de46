/** Parts of the npm package `phoenix` that the pages use and the tests do not declare. */
declare module "phoenix" {
  interface SocketMessage {
    readonly topic: string;
    readonly event: string;
    readonly payload: unknown;
  }

  interface Channel {
    readonly state: "closed" | "errored" | "joined" | "joining" | "leaving";
    /** Sends any JSON value as text, and an ArrayBuffer as bytes. */
    push(event: string, payload: unknown, timeout?: number): Push;
  }

  interface Socket {
    onError(callback: () => void): string;
    onMessage(callback: (message: SocketMessage) => void): string;
    remove(channel: Channel): void;
  }
}
