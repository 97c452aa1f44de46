/** What the pages use of the npm package `phoenix` beyond what the tests declare of it. */
declare module "phoenix" {
  interface SocketMessage {
    readonly topic: string;
    readonly event: string;
    readonly payload: unknown;
  }

  interface Channel {
    readonly state: "closed" | "errored" | "joined" | "joining" | "leaving";
    /** Any JSON value travels, an object or not; an ArrayBuffer as bytes. */
    push(event: string, payload: unknown, timeout?: number): Push;
  }

  interface Socket {
    onError(callback: () => void): string;
    onMessage(callback: (message: SocketMessage) => void): string;
    remove(channel: Channel): void;
  }
}
