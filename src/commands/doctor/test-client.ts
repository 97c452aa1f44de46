import { isObject, ownValue } from "../../auth/json-object.ts";

/** What a join came to. */
export type JoinResult =
  | { readonly kind: "joined"; readonly connection: string; close(): void }
  | { readonly kind: "refused"; readonly reason: string }
  /** No socket: the address answers otherwise, or not at all. */
  | { readonly kind: "unconnected" };

const TIMEOUT_MS = 10_000;

/** The options are the runtime's own, which the types of browsers hide. */
function connect(url: string, options: Bun.WebSocketOptions): WebSocket {
  return Reflect.construct(WebSocket, [url, options]);
}

/**
 * Joins a channel as phoenix.js does.
 * @param url of the server, `http:` or `https:`
 * @param ownServer whether the certificate may have another name
 */
export function joinOnce(
  url: string,
  { channel, token, headers = {}, ownServer }: JoinOptions,
): Promise<JoinResult> {
  const { promise, resolve } = Promise.withResolvers<JoinResult>();
  const address = `${url.replace(/^http/, "ws")}/websocket?vsn=2.0.0&userToken=${encodeURIComponent(token)}`;
  const socket = connect(address, {
    headers: { ...headers },
    ...(ownServer ? { tls: { rejectUnauthorized: false } } : {}),
  });
  const timer = setTimeout(() => resolve({ kind: "unconnected" }), TIMEOUT_MS);
  const close = (): void => socket.close();
  socket.onopen = () => socket.send(JSON.stringify(["1", "1", channel, "phx_join", { token }]));
  socket.onmessage = ({ data }) => {
    const reply = replyIn(data);
    if (reply === null) return;
    const response = ownValue(reply, "response");
    const body = isObject(response) ? response : {};
    if (ownValue(reply, "status") === "ok") {
      const id = String(ownValue(body, "id"));
      resolve({ kind: "joined", connection: id.split(":")[0] ?? "", close });
    } else resolve({ kind: "refused", reason: String(ownValue(body, "reason") ?? "no reason") });
  };
  socket.onerror = () => resolve({ kind: "unconnected" });
  socket.onclose = () => resolve({ kind: "unconnected" });
  return promise.then((result) => {
    clearTimeout(timer);
    if (result.kind !== "joined") close();
    return result;
  });
}

export interface JoinOptions {
  readonly channel: string;
  readonly token: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly ownServer: boolean;
}

/** The payload of the answer to the join; `null` for any other frame. */
function replyIn(data: unknown) {
  if (typeof data !== "string") return null;
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return null;
  }
  const [, ref, , event, payload]: unknown[] = Array.isArray(frame) ? frame : [];
  return ref === "1" && event === "phx_reply" && isObject(payload) ? payload : null;
}
