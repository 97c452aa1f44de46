import { join } from "node:path";
import { Inbox, short } from "../inbox.ts";
import { findPython } from "../python.ts";

/** awxkit's `WSClient` in a Python process of its own, driven through its methods. */
export interface Awxkit {
  /** The names of all methods that it offers. */
  readonly methods: readonly string[];
  /** What it received, in order. */
  readonly received: Inbox<unknown>;
  /** Calls a method and waits until it has returned; rejects with what it raised. */
  call(
    method: string,
    positional?: readonly unknown[],
    keyword?: Readonly<Record<string, unknown>>,
  ): Promise<void>;
  stop(): Promise<void>;
}

/** Python takes its time to import awxkit, in ms. */
const START_MS = 20_000;
/** awxkit itself waits so long for an answer, in ms. */
const CALL_MS = 15_000;

/** Connects to `ws://localhost:<port>/websocket/`, or `wss:`, with a token in its cookie. */
export async function startAwxkit(port: number, token: string, secure = false): Promise<Awxkit> {
  const child = Bun.spawn(
    [
      findPython("awxkit"),
      join(import.meta.dir, "awxkit-client.py"),
      String(port),
      secure ? "secure" : "plain",
      token,
    ],
    { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
  );
  const said = new Inbox<Record<string, unknown>>("awxkit", (each) => short(JSON.stringify(each)));
  const received = new Inbox<unknown>("awxkit received", (each) => short(JSON.stringify(each)));
  void (async () => {
    const errors = new Response(child.stderr).text();
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const what: Record<string, unknown> = JSON.parse(line);
        if ("received" in what) received.put(what.received);
        else said.put(what);
      }
    }
    const why = `the program ended: ${await errors}`;
    said.end(why);
    received.end(why);
  })();
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
  };
  let methods: string[] = [];
  try {
    const { connected } = await said.until((each) => "connected" in each, "a connection", START_MS);
    if (Array.isArray(connected)) methods = connected.map(String);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    methods,
    received,
    call: async (method, positional = [], keyword = {}) => {
      child.stdin.write(`${JSON.stringify([method, positional, keyword])}\n`);
      await child.stdin.flush();
      const done = await said.until(
        (each) => each.did === method || each.failed === method,
        `${method} to return`,
        CALL_MS,
      );
      if (done.failed !== undefined) throw new Error(`${method}: ${String(done.why)}`);
    },
    stop,
  };
}
