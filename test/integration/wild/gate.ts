interface Asked {
  readonly method: string;
  readonly at: number;
  readonly token: boolean;
}

/** A proxy between a page and the server that can fail, request by request. */
export interface Gate {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Every request so far, when it came (`performance.now()`), and whether it named a long-poll session. */
  readonly requests: readonly Asked[];
  /** Lets the next request of a method that is the `nth` from now end like this instead of reaching the server. */
  fail(method: "GET" | "POST", nth: number, answer: () => Response | Promise<Response>): void;
  /** Asks another server from now on. */
  aim(url: string): void;
  stop(): Promise<void>;
}

/** @param adds headers that every request gets on its way, as a proxy's `X-Forwarded-For` */
export function startGate(target: string, adds: Readonly<Record<string, string>> = {}): Gate {
  let aimed = target;
  const requests: Asked[] = [];
  const faults: { method: string; left: number; answer: () => Response | Promise<Response> }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    async fetch(request) {
      const { method, url, headers } = request;
      const token = new URL(url).searchParams.has("token");
      requests.push({ method, at: performance.now(), token });
      for (const fault of faults) {
        if (fault.method === method && fault.left-- === 1) return fault.answer();
      }
      const { pathname, search } = new URL(url);
      try {
        const body = method === "POST" ? await request.bytes() : null;
        const answer = await fetch(`${aimed}${pathname}${search}`, {
          method,
          headers: { ...Object.fromEntries(headers), ...adds },
          body,
          signal: request.signal,
        });
        return new Response(await answer.bytes(), { status: answer.status, headers: answer.headers });
      } catch {
        return new Response(null, { status: 502 });
      }
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    requests,
    fail: (method, nth, answer) => void faults.push({ method, left: nth, answer }),
    aim: (url) => {
      aimed = url;
    },
    stop: () => server.stop(true),
  };
}
