/** Types for the parts of the npm package `phoenix` that the tests use. The package has none. */
declare module "phoenix" {
  export interface Push {
    receive(status: "ok" | "error" | "timeout", callback: (response: unknown) => void): Push;
  }

  export interface Channel {
    readonly topic: string;
    /** `joined`, `joining`, `errored`, ... */
    readonly state: string;
    join(timeout?: number): Push;
    leave(timeout?: number): Push;
    push(event: string, payload: object, timeout?: number): Push;
    on(event: string, callback: (payload: unknown, ref?: string | null) => void): number;
    /** May be replaced: it gets each message first, and returns its payload. */
    onMessage: (event: string, payload: unknown, ref?: string | null) => unknown;
    onClose(callback: () => void): void;
    onError(callback: (reason: unknown) => void): number;
  }

  export interface SocketOptions {
    readonly params?: object | (() => object);
    readonly authToken?: string | (() => string);
    readonly vsn?: string;
    readonly timeout?: number;
    readonly transport?: unknown;
    readonly heartbeatIntervalMs?: number;
    readonly reconnectAfterMs?: (tries: number) => number;
    readonly rejoinAfterMs?: (tries: number) => number;
    readonly longPollFallbackMs?: number;
    readonly longpollerTimeout?: number;
  }

  export class Socket {
    constructor(endPoint: string, options?: SocketOptions);
    /** The current transport connection, here a WebSocket. */
    readonly conn: WebSocket | null;
    connect(): void;
    disconnect(callback?: () => void): void;
    isConnected(): boolean;
    channel(topic: string, params?: object | (() => object)): Channel;
    onOpen(callback: () => void): string;
    onClose(callback: (event: unknown) => void): string;
  }

  /** The long-poll transport: `transport: LongPoll`. */
  export class LongPoll {
    constructor(endPoint: string, protocols?: readonly string[]);
  }

  export interface PresenceEntry {
    readonly metas: readonly { readonly phx_ref: string; readonly online_at: string }[];
  }

  export class Presence {
    constructor(channel: Channel);
    readonly state: Readonly<Record<string, PresenceEntry>>;
    onLeave(callback: (user: string, current: PresenceEntry, left: PresenceEntry) => void): void;
    onSync(callback: () => void): void;
    list<T>(chooser: (key: string, entry: PresenceEntry) => T): T[];
  }
}
