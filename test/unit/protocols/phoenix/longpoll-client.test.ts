import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { Delivery, LongPollClient, type Polled } from "../../../../src/transports/longpoll.ts";
import { createWorld, type World } from "./world.ts";

const WAIT = 10_000;

let world: World;
let client: LongPollClient;

beforeEach(async () => {
  jest.useFakeTimers();
  world = await createWorld();
  client = new LongPollClient(world.context, "c1", "192.0.2.1", WAIT, () => {});
  client.start();
});

afterEach(() => {
  world.stop();
  jest.useRealTimers();
});

/** A poll whose answer reaches the client, if it has messages. */
async function read(got: number): Promise<readonly string[]> {
  const polled = client.poll(new AbortController().signal, got);
  jest.advanceTimersByTime(1);
  return messagesOf(await polled);
}

function messagesOf(polled: Polled): readonly string[] {
  if (!(polled instanceof Delivery)) throw new Error(`no messages: ${polled}`);
  const { messages } = polled;
  polled.settle(true);
  return messages;
}

test("an answer that was lost is repeated to whoever polls without its number, and not to one who has it", async () => {
  client.send("a");
  expect(await read(0)).toEqual(["a"]);
  expect(await read(0)).toEqual(["a"]);
  const next = client.poll(new AbortController().signal, 2);
  client.send("b");
  jest.advanceTimersByTime(1);
  expect(messagesOf(await next)).toEqual(["b"]);
});

test("a poll that is read only after its client hung up and polled anew changes nothing", async () => {
  client.send("a");
  expect(await read(0)).toEqual(["a"]);
  const waiting = client.poll(new AbortController().signal, 1);
  expect(await client.poll(AbortSignal.abort(), 0)).toBe("none");
  client.send("b");
  jest.advanceTimersByTime(1);
  expect(messagesOf(await waiting)).toEqual(["b"]);
});

test("what comes while nobody polls waits for the next poll, also after one hung up", async () => {
  const hang = new AbortController();
  const lost = client.poll(hang.signal, 0);
  hang.abort();
  expect(await lost).toBe("none");
  client.send("a");
  client.send("b");
  expect(await read(0)).toEqual(["a", "b"]);
});

test("its session is called when it is opened and when it is closed", () => {
  const calls: string[] = [];
  const other = new LongPollClient(world.context, "c2", "192.0.2.1", WAIT, () => {});
  other.session = {
    protocol: "test",
    users: [],
    channels: [],
    opened: () => calls.push("opened"),
    receive() {},
    closed: () => calls.push("closed"),
  };
  other.start();
  other.close(1001, "done");
  expect(calls.slice(0, 2)).toEqual(["opened", "closed"]);
});

test("what waits when it is closed is fetched by the next poll, if that comes soon", async () => {
  client.send("a");
  client.close(1001, "done");
  client.send("b");
  expect(await read(0)).toEqual(["a"]);
  expect(await client.poll(new AbortController().signal, 1)).toBe("gone");
  const late = new LongPollClient(world.context, "c3", "192.0.2.1", WAIT, () => {});
  late.start();
  late.send("a");
  late.close(1001, "done");
  jest.advanceTimersByTime(1_100);
  expect(await late.poll(new AbortController().signal, 0)).toBe("gone");
});
