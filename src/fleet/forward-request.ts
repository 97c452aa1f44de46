/** Headers that belong to one connection, or that name the client to the first server. */
const NOT_FORWARDED = [
  ...[
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "accept-encoding",
    "expect",
    "upgrade",
  ],
  ...["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip"],
];

export interface ForwardTarget {
  readonly url: string;
  /** The unix socket of a server on this machine, which `url` does not name then. */
  readonly unix?: string;
  /** Headers that only servers send. */
  readonly headers: Readonly<Record<string, string>>;
  /** ms until the request fails: longer than a poll waits there. */
  readonly timeout: number;
}

/** Sends a request of a client to another server, and its answer back. Rejects if that one cannot be reached. */
export async function forwardRequest(
  request: Request,
  { url, unix, headers: added, timeout }: ForwardTarget,
): Promise<Response> {
  const headers = forwardedHeaders(request.headers, added);
  const response = await fetch(url, {
    method: request.method,
    headers,
    ...(request.body === null ? {} : { body: request.body }),
    ...(unix === undefined ? {} : { unix }),
    redirect: "manual",
    signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeout)]),
  });
  // The other server closes the connection of a client that has too many.
  const closing = response.headers.get("connection") === "close" ? { connection: "close" } : {};
  return new Response(response.body, {
    status: response.status,
    headers: forwardedHeaders(response.headers, closing),
  });
}

/** The headers of a request or an answer that the other end gets. */
export function forwardedHeaders(from: Headers, added: Readonly<Record<string, string>>): Headers {
  const headers = new Headers(from);
  for (const name of NOT_FORWARDED) headers.delete(name);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  return headers;
}
