import { expect, test } from "bun:test";
import { RedisError, type RedisValue } from "../../../src/bus/redis/redis-reply.ts";
import { Transaction } from "../../../src/bus/redis/redis-transaction.ts";

interface Case {
  readonly what: string;
  /** Between MULTI and EXEC, or not. */
  readonly isOne?: boolean;
  /** The replies of one line: to MULTI, note, two messages, note. */
  readonly replies: string;
  /** The reply to EXEC. */
  readonly exec?: RedisValue;
  readonly calls: readonly string[];
}

const EXECABORT = new RedisError("EXECABORT Transaction discarded because of previous errors.");

// y: accepted, n: refused
test.each<Case>([
  { what: "all is accepted", replies: "yyyyy", exec: [1, 0, 0, 1], calls: ["together noted"] },
  {
    what: "MULTI is refused",
    replies: "nyyyy",
    exec: new RedisError("ERR EXEC without MULTI"),
    calls: ["forbidden transaction", "apart"],
  },
  {
    what: "MULTI and a message are refused",
    replies: "nyyny",
    exec: new RedisError("NOPERM"),
    calls: ["forbidden transaction", "not"],
  },
  { what: "a message is refused", replies: "yyyny", exec: EXECABORT, calls: ["not"] },
  { what: "the note is refused", replies: "ynyyn", exec: EXECABORT, calls: ["forbidden note", "again"] },
  { what: "the note and a message are refused", replies: "ynynn", exec: EXECABORT, calls: ["not"] },
  {
    what: "EXEC is refused, and the transaction ends",
    replies: "yyyyy",
    exec: new RedisError("EXECABORT Transaction discarded because of: NOPERM exec"),
    calls: ["forbidden transaction", "again"],
  },
  {
    what: "EXEC is refused, and the transaction goes on",
    replies: "yyyyy",
    exec: new RedisError("NOPERM exec"),
    calls: ["not", "forbidden execution"],
  },
  { what: "the connection ends", replies: "nnnnn", exec: null, calls: ["not"] },
  { what: "one by one", isOne: false, replies: "yyyy", calls: ["apart"] },
  { what: "one by one, a message refused", isOne: false, replies: "yyny", calls: ["not"] },
])("a group of messages: $what", ({ isOne = true, replies, exec, calls }) => {
  const seen: string[] = [];
  const transaction = new Transaction({
    names: 2,
    isNoted: true,
    isOne,
    forbidden: (part) => seen.push(`forbidden ${part}`),
    again: () => seen.push("again"),
    ack: { finished: (result, noted) => seen.push(noted ? `${result} noted` : result) },
  });
  for (const each of replies) transaction.settled(each === "y");
  if (exec !== undefined) transaction.executed(exec);
  expect(seen).toEqual([...calls]);
});
