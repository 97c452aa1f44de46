import { afterEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { createServer, type Server as TcpServer } from "node:net";
import { HookClient, hookSignature } from "../../../src/hooks/hook-client.ts";

const SECRET = "a secret of these tests";

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function serve(handle: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handle });
  stops.push(() => server.stop(true));
  return `http://127.0.0.1:${server.port}/hook`;
}

async function serveTcp(onData: (write: (text: string) => void, end: () => void) => void): Promise<string> {
  const server: TcpServer = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () =>
      onData(
        (text) => socket.write(text),
        () => socket.destroy(),
      ),
    );
    stops.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stops.push(() => server.close());
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  return `http://127.0.0.1:${address.port}/hook`;
}

function post(client: HookClient, url: string, timeout = 2000, startBy = performance.now() + 5000) {
  return client.post({ url, body: '{"a":1}', timeout, startBy, headers: { cookie: "session=1" } });
}

describe("a request to a hook", () => {
  test("is signed, and has the given headers", async () => {
    let seen: Request | null = null;
    let body = "";
    const url = serve(async (request) => {
      seen = request;
      body = await request.text();
      return Response.json({ ok: true });
    });
    expect(await post(new HookClient(SECRET), url)).toEqual({ status: 200, body: '{"ok":true}' });
    const headers = (seen as Request | null)?.headers;
    expect(headers?.get("cookie")).toBe("session=1");
    expect(headers?.get("content-type")).toBe("application/json");
    const [, time = "", digest] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers?.get("x-channel-signature") ?? "") ?? [];
    expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(60);
    expect(digest).toBe(createHmac("sha256", SECRET).update(`${time}.${body}`).digest("hex"));
    expect(hookSignature(SECRET, body, Number(time) * 1000)).toBe(`t=${time},v1=${digest}`);
  });

  test("does not follow a redirect", async () => {
    let requests = 0;
    const url = serve(() => {
      requests++;
      return new Response("elsewhere", { status: 302, headers: { location: "/other" } });
    });
    expect(await post(new HookClient(SECRET), url)).toEqual({ status: 302, body: "elsewhere" });
    expect(requests).toBe(1);
  });

  test("fails where nothing listens, and where the connection is closed", async () => {
    const client = new HookClient(SECRET);
    const closed = await serveTcp((_, end) => end());
    expect(await post(client, closed)).toBe("unreachable");
    const half = await serveTcp((write, end) => {
      write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
      setTimeout(end, 20);
    });
    expect(await post(client, half)).toBe("unreachable");
    expect(await post(client, "http://127.0.0.1:1/hook")).toBe("unreachable");
    expect(client.pending).toBe(0);
  });

  test("times out in the head and in the body", async () => {
    const client = new HookClient(SECRET);
    expect(await post(client, await serveTcp(() => {}), 100)).toBe("timeout");
    const slow = await serveTcp((write) => write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
    expect(await post(client, slow, 100)).toBe("timeout");
    expect(client.pending).toBe(0);
  });

  test("reads at most 1 MiB of an answer", async () => {
    const client = new HookClient(SECRET);
    const body = "x".repeat(1024 * 1024);
    const url = serve(() => new Response(body));
    expect(await post(client, url)).toEqual({ status: 200, body });
    const larger = serve(() => new Response(`${body}x`));
    expect(await post(client, larger)).toBe("answer too large");
  });

  test("reads less where less is asked for, and neither an endless answer nor one that unpacks to more", async () => {
    const client = new HookClient(SECRET);
    const ask = (url: string) =>
      client.post({ url, body: "{}", timeout: 10_000, startBy: performance.now() + 5000, maxAnswer: 1024 });
    const ended = Promise.withResolvers<void>();
    const endless = serve((request) => {
      request.signal.addEventListener("abort", () => ended.resolve());
      const pull = async (to: ReadableStreamDefaultController<string>) => {
        to.enqueue("x".repeat(100));
        await Bun.sleep(1);
      };
      return new Response(new ReadableStream({ pull }));
    });
    expect(await ask(endless)).toBe("answer too large");
    await ended.promise;
    let accepted: string | null = null;
    const packed = serve((request) => {
      accepted = request.headers.get("accept-encoding");
      const body = Bun.gzipSync(`{"allow":true${" ".repeat(1 << 20)}}`);
      return new Response(body.slice(0, 1000), { headers: { "content-encoding": "gzip" } });
    });
    const answer = await ask(packed);
    expect(typeof answer === "string" ? answer : answer.body.slice(0, 1)).not.toBe("{");
    expect(String(accepted)).toBe("identity");
  });

  test("does not wait longer than its client", async () => {
    const release = Promise.withResolvers<void>();
    const url = serve(() => release.promise.then(() => new Response("{}")));
    const client = new HookClient(SECRET);
    const running = Array.from({ length: 100 }, () => post(client, url, 5000));
    const gone = new AbortController();
    const { signal } = gone;
    const waiting = client.post({
      url,
      body: "{}",
      timeout: 5000,
      startBy: performance.now() + 5000,
      signal,
    });
    expect(client.pending).toBe(101);
    gone.abort();
    expect(await waiting).toBe("cancelled");
    expect(client.pending).toBe(100);
    release.resolve();
    await Promise.all(running);
  });

  test("never gets the answer to another request: neither a late one, nor one that was sent too early", async () => {
    const ok = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    let late: ((text: string) => void) | null = null;
    const server = createServer((socket) => {
      stops.push(() => socket.destroy());
      socket.on("error", () => {});
      let text = "";
      socket.on("data", (bytes) => {
        text += bytes;
        const [, id] = /\r\n\r\n\{"id":"(\w+)"\}$/.exec(text) ?? [];
        if (id === undefined) return;
        text = "";
        if (id === "late") late = (answer) => socket.write(answer);
        else if (id === "early") socket.write(ok("early") + ok("too early"));
        else {
          late?.(ok("late"));
          late = null;
          socket.write(ok(id));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stops.push(() => server.close());
    const client = new HookClient(SECRET);
    const ask = (id: string, timeout: number) =>
      client.post({
        ...{ url: `http://127.0.0.1:${Object(server.address()).port}/`, body: JSON.stringify({ id }) },
        ...{ timeout, startBy: performance.now() + 30_000 },
      });
    expect(await ask("first", 30_000)).toEqual({ status: 200, body: "first" });
    expect(await ask("late", 200)).toBe("timeout");
    expect(await ask("second", 30_000)).toEqual({ status: 200, body: "second" });
    expect(await ask("early", 30_000)).toEqual({ status: 200, body: "early" });
    expect(await ask("third", 30_000)).toEqual({ status: 200, body: "third" });
  });

  test("uses one connection for requests one after the other", async () => {
    const ports = new Set<number>();
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request, bun) => {
        ports.add(bun.requestIP(request)?.port ?? 0);
        return new Response("{}");
      },
    });
    stops.push(() => server.stop(true));
    const client = new HookClient(SECRET);
    for (let i = 0; i < 5; i++) await post(client, `http://127.0.0.1:${server.port}/hook`);
    expect(ports.size).toBe(1);
  });

  test("waits for its turn where 100 run to one host, and gives up in time", async () => {
    const release = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    const url = serve(async () => {
      most = Math.max(most, ++running);
      await release.promise;
      running--;
      return new Response("{}");
    });
    const client = new HookClient(SECRET);
    const first = Array.from({ length: 150 }, () => post(client, url, 5000));
    expect(await post(client, url, 5000, performance.now() + 50)).toBe("timeout");
    expect(client.pending).toBe(150);
    release.resolve();
    for (const answer of await Promise.all(first)) expect(answer).toEqual({ status: 200, body: "{}" });
    expect(most).toBeLessThanOrEqual(100);
    expect(client.pending).toBe(0);
  });

  test("is refused where 10,000 wait", async () => {
    const release = Promise.withResolvers<Response>();
    const client = new HookClient(SECRET);
    const url = serve(() => release.promise.then((response) => response.clone()));
    const all = Array.from({ length: 10_100 }, () => post(client, url, 5000, performance.now() + 200));
    expect(await post(client, url)).toBe("busy");
    release.resolve(new Response("{}"));
    await Promise.all(all);
  });
});
