import { afterEach, beforeEach, expect, test } from "bun:test";
import { Connections } from "../../../src/hub/connections.ts";
import { type Encoder, Fanout } from "../../../src/hub/fanout.ts";

let connections: Connections;
let encoded: string[];
let published: string[];
/** What Bun answers to a publish. */
let result: number;
let checks: number;
let fanout: Fanout<string>;

const encoder: Encoder<string> = {
  protocol: "test",
  encode(message) {
    encoded.push(message);
    return message === "left out" ? null : `<${message}>`;
  },
};

beforeEach(() => {
  [encoded, published, result, checks] = [[], [], 1, 0];
  connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  const publish = (topic: string, frame: string | Buffer): number => {
    published.push(`${topic} ${frame}`);
    return result;
  };
  const backlogged = { checkBacklogs: () => void checks++ };
  fanout = new Fanout("topic", encoder, backlogged, { publisher: { publish }, connections });
});
afterEach(() => connections.stop());

function subscriber(onTopics: boolean) {
  const topics = new Set<string>();
  const sent: (string | Buffer)[] = [];
  return {
    topics,
    sent,
    subscribe: (topic: string) => onTopics && topics.add(topic) !== undefined,
    unsubscribe: (topic: string) => void topics.delete(topic),
    send: (frame: string | Buffer) => void sent.push(frame),
  };
}

test("without subscribers nothing is encoded", () => {
  expect(fanout.deliver("a")).toBe(0);
  const one = subscriber(true);
  fanout.add(one);
  fanout.remove(one);
  expect([fanout.deliver("b"), fanout.empty, encoded, published]).toEqual([0, true, [], []]);
});

test("a message is encoded once: sockets get it by topic, other transports one by one", () => {
  const [socket, other] = [subscriber(true), subscriber(false)];
  for (const each of [socket, subscriber(true), other, subscriber(false)]) fanout.add(each);
  expect([fanout.listeners, fanout.deliver("a")]).toEqual([4, 4]);
  expect(encoded).toEqual(["a"]);
  expect(published).toEqual(["topic <a>"]);
  expect([socket.sent, other.sent]).toEqual([[], ["<a>"]]);
  fanout.remove(other);
  fanout.remove(socket);
  expect([fanout.deliver("b"), other.sent, socket.topics.size]).toEqual([2, ["<a>"], 0]);
});

test("what the format leaves out is not sent", () => {
  fanout.add(subscriber(true));
  expect([fanout.deliver("left out"), published]).toEqual([0, []]);
});

test("where Bun dropped a frame backlogs are checked at once, where it queued one they are watched", () => {
  fanout.add(subscriber(true));
  fanout.deliver("a");
  expect([checks, connections.watching]).toEqual([0, false]);
  result = 0;
  fanout.deliver("b");
  expect(checks).toBe(1);
  result = -1;
  fanout.deliver("c");
  expect([checks, connections.watching]).toEqual([1, true]);
});

test("a paused subscriber is left out, whatever its transport, and gets the next message", () => {
  const [socket, other] = [subscriber(true), subscriber(false)];
  for (const each of [socket, subscriber(true), other]) fanout.add(each);
  for (const each of [socket, other]) fanout.pause(each);
  expect([socket.topics.size, fanout.deliver("a"), fanout.isPaused(socket)]).toEqual([0, 1, true]);
  for (const each of [socket, other]) fanout.resume(each);
  expect([socket.topics.size, fanout.deliver("b"), fanout.isPaused(socket)]).toEqual([1, 3, false]);
  expect(other.sent).toEqual(["<b>"]);
});

test("while the only subscriber is paused nothing is encoded, and the fanout is still in use", () => {
  const one = subscriber(true);
  fanout.add(one);
  fanout.pause(one);
  expect([fanout.deliver("a"), fanout.empty, encoded]).toEqual([0, false, []]);
  fanout.remove(one);
  fanout.resume(one);
  expect([fanout.empty, one.topics.size]).toEqual([true, 0]);
});

test("without a conflation no client makes the state that it needs", () => {
  let made = 0;
  const client = {
    ...subscriber(true),
    get conflated() {
      made++;
      return null;
    },
  };
  fanout.add(client);
  fanout.pause(client);
  fanout.resume(client);
  fanout.sendTo(client, "own");
  fanout.remove(client);
  expect([made, client.sent]).toEqual([0, ["own"]]);
});
