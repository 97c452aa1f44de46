import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import type { ConnectionContext } from "../../../src/transports/connection-context.ts";
import { LongPollClient, type LongPollOptions, type PollResult } from "../../../src/transports/longpoll.ts";
import { createContext } from "./context.ts";

const WAIT = 10_000;
const COLLECT = 250;

let context: ConnectionContext;

beforeEach(() => {
  jest.useFakeTimers();
  context = createContext(1024);
});

afterEach(() => {
  context.connections.stop();
  jest.useRealTimers();
});

function open(options: Partial<LongPollOptions> = {}): LongPollClient {
  const client = new LongPollClient(context, "c1", "192.0.2.1", {
    wait: WAIT,
    collect: 0,
    keep: true,
    ...options,
  });
  client.start();
  return client;
}

function poll(client: LongPollClient, acknowledged: number | null = null): Promise<PollResult> {
  return client.poll(new AbortController().signal, acknowledged);
}

/** A poll whose answer arrives, if it has messages. */
async function read(client: LongPollClient, acknowledged: number | null = null): Promise<readonly string[]> {
  const result = poll(client, acknowledged);
  jest.advanceTimersByTime(1);
  return messagesOf(await result);
}

function messagesOf(result: PollResult, written = true): readonly string[] {
  if (typeof result === "string") throw new Error(`no messages: ${result}`);
  const { messages } = result;
  result.settle(written);
  return messages;
}

/** One more turn of the event loop, by fake timers. */
function advance(ms: number): void {
  jest.advanceTimersByTime(ms);
  jest.advanceTimersByTime(1);
}

describe("with messages kept", () => {
  test("an answer is repeated to a poll without its number, and not to one with it", async () => {
    const client = open();
    client.send("a");
    expect(await read(client, 0)).toEqual(["a"]);
    expect(await read(client, 0)).toEqual(["a"]);
    const next = poll(client, 2);
    client.send("b");
    jest.advanceTimersByTime(1);
    expect(messagesOf(await next)).toEqual(["b"]);
  });

  test("without acknowledgement what was written has arrived, and what broke is repeated", async () => {
    const client = open();
    client.send("a");
    expect(await read(client)).toEqual(["a"]);
    expect(client.buffered()).toBe(0);
    client.send("b");
    const broken = poll(client);
    jest.advanceTimersByTime(1);
    expect(messagesOf(await broken, false)).toEqual(["b"]);
    client.send("c");
    expect(await read(client)).toEqual(["b", "c"]);
  });

  test("the first answer is repeated once to a poll that acknowledges nothing, where that is asked for", async () => {
    const client = open({ repeatsFirst: () => true });
    client.send("a");
    expect(await read(client)).toEqual(["a"]);
    client.send("b");
    expect(await read(client)).toEqual(["a", "b"]);
    client.send("c");
    expect(await read(client)).toEqual(["c"]);
    expect(client.buffered()).toBe(0);
  });

  test("a message is sent once to a client that got the answer that was repeated", async () => {
    const client = open();
    client.send("a");
    expect(await read(client, 0)).toEqual(["a"]);
    client.send("b");
    expect(await read(client, 0)).toEqual(["a", "b"]);
    client.send("c");
    expect(await read(client, 1)).toEqual(["b", "c"]);
    expect(await read(client, 2)).toEqual(["c"]);
    const next = poll(client, 4);
    client.send("d");
    jest.advanceTimersByTime(1);
    expect(messagesOf(await next)).toEqual(["d"]);
    expect(client.buffered()).toBe(1);
  });

  test("a poll that is read after its client polled again changes nothing", async () => {
    const client = open();
    client.send("a");
    expect(await read(client, 0)).toEqual(["a"]);
    const waiting = poll(client, 1);
    expect(await client.poll(AbortSignal.abort(), 0)).toBe("empty");
    client.send("b");
    jest.advanceTimersByTime(1);
    expect(messagesOf(await waiting)).toEqual(["b"]);
  });

  test("messages sent without a poll are in the answer to the next one, also after an aborted poll", async () => {
    const client = open();
    const connection = new AbortController();
    const aborted = client.poll(connection.signal, 0);
    connection.abort();
    expect(await aborted).toBe("empty");
    client.send("a");
    client.send("b");
    expect(await read(client, 0)).toEqual(["a", "b"]);
  });

  test("the backlog of a closed client is in the answer to the next poll, if that comes in time", async () => {
    const client = open();
    client.send("a");
    client.close(1001, "done");
    client.send("b");
    expect(await read(client, 0)).toEqual(["a"]);
    expect(await poll(client, 1)).toBe("closed");
    const late = open();
    late.send("a");
    late.close(1001, "done");
    jest.advanceTimersByTime(1_100);
    expect(await poll(late, 0)).toBe("closed");
  });

  test("a poll ends empty after the wait, and when a second one comes", async () => {
    const client = open();
    const first = poll(client, 0);
    const second = poll(client, 0);
    expect(await first).toBe("empty");
    jest.advanceTimersByTime(WAIT);
    expect(await second).toBe("empty");
  });
});

describe("with messages not kept", () => {
  function openCounting() {
    const ends = { polls: 0, written: 0 };
    const client = open({
      collect: COLLECT,
      keep: false,
      onPollEnd: () => {
        ends.polls++;
        return () => ends.written++;
      },
    });
    return { client, ends };
  }

  test("messages within the collecting time are in one answer, and none sent without a poll", async () => {
    const { client, ends } = openCounting();
    client.send("[1]");
    expect(client.buffered()).toBe(0);
    const result = poll(client);
    client.send("[2]");
    advance(COLLECT - 10);
    client.send("[3]");
    advance(10);
    const delivery = await result;
    expect(ends).toEqual({ polls: 1, written: 0 });
    expect(messagesOf(delivery)).toEqual(["[2]", "[3]"]);
    expect(ends).toEqual({ polls: 1, written: 1 });
    expect(client.buffered()).toBe(0);
  });

  test("a second poll gets the messages of the first, and only the second one ends", async () => {
    const { client, ends } = openCounting();
    const first = poll(client);
    client.send("[1]");
    const second = poll(client);
    expect(await first).toBe("empty");
    expect(ends.polls).toBe(0);
    advance(COLLECT);
    expect(messagesOf(await second)).toEqual(["[1]"]);
    expect(ends).toEqual({ polls: 1, written: 1 });
  });

  test("the messages of an aborted poll and of an answer that broke are dropped, and count as not written", async () => {
    const { client, ends } = openCounting();
    const connection = new AbortController();
    const aborted = client.poll(connection.signal, null);
    client.send("[1]");
    connection.abort();
    expect(await aborted).toBe("empty");
    const broken = poll(client);
    client.send("[2]");
    advance(COLLECT);
    expect(messagesOf(await broken, false)).toEqual(["[2]"]);
    expect(ends).toEqual({ polls: 2, written: 0 });
    expect(client.buffered()).toBe(0);
    const next = poll(client);
    client.send("[3]");
    advance(COLLECT);
    expect(messagesOf(await next)).toEqual(["[3]"]);
  });

  test("a poll without messages ends empty after the wait and the collecting time, and counts as written", async () => {
    const { client, ends } = openCounting();
    let result: PollResult | null = null;
    void poll(client).then((value) => {
      result = value;
    });
    advance(WAIT - 1);
    await Promise.resolve();
    expect(result).toBeNull();
    advance(COLLECT);
    await Promise.resolve();
    expect<PollResult | null>(result).toBe("empty");
    expect(ends).toEqual({ polls: 1, written: 1 });
  });
});
