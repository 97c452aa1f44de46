import { describe, expect, test } from "bun:test";
import { pubsubLimit } from "../../../src/bus/redis/redis-buffer-limit.ts";
import { RedisError, readReply } from "../../../src/bus/redis/redis-reply.ts";
import { noticeOf, whyNoMaster } from "../../../src/bus/redis/redis-role.ts";
import { readSlots } from "../../../src/bus/redis/redis-slots.ts";

describe("replies to commands", () => {
  const ROLE = "*3\r\n$5\r\nslave\r\n$9\r\n10.0.0.10\r\n:6379\r\n";
  const MAP = "%1\r\n+nodes\r\n*3\r\n_\r\n,1.5\r\n#t\r\n";

  test("are read whole, in RESP2 and RESP3, and no part of them is", () => {
    const values = [
      [ROLE, ["slave", "10.0.0.10", 6379]],
      [MAP, ["nodes", [null, "1.5", "t"]]],
      ["$-1\r\n", null],
      ["*0\r\n", []],
      ["-NOPERM no\r\n", new RedisError("NOPERM no")],
    ] as const;
    for (const [text, value] of values) {
      const bytes = Buffer.from(`x${text}+PONG\r\n`);
      expect(readReply(bytes, 1)).toEqual({ value, end: 1 + text.length });
      for (let end = 0; end < text.length; end++) {
        expect(readReply(Buffer.from(text.slice(0, end)), 0)).toBeNull();
      }
    }
  });

  test.each(["HTTP/1.1 400\r\n", "*x\r\n", "%-1\r\n", `${"*1\r\n".repeat(20)}:1\r\n`])(
    "%p is none",
    (text) => {
      expect(readReply(Buffer.from(text), 0)).toBe("malformed");
    },
  );

  test("a reply to ROLE shows whether the server can be the bus", () => {
    expect(whyNoMaster(["master", 0, []])).toBeNull();
    expect(whyNoMaster(["slave", "h", 1, "connected", 5])).toContain("a replica of h:1 (role slave)");
    expect(whyNoMaster(["sentinel", ["main"]])).toContain("(role sentinel)");
    for (const none of [null, "master", [], ["other"]]) expect(whyNoMaster(none)).toContain("its role is");
    expect(noticeOf(whyNoMaster(["slave", "h", 1]) ?? "")).toBe("Redis is not a master, retrying");
    expect(noticeOf("the connection was closed")).toBeNull();
  });

  test("the limit on output buffers is the one that is met within two seconds", () => {
    const of = (pubsub: string) => pubsubLimit(`normal 0 0 0 slave 268435456 67108864 60 pubsub ${pubsub}`);
    expect(of("33554432 8388608 60")).toBe(33_554_432);
    expect(of("33554432 8388608 1")).toBe(8_388_608);
    expect(of("0 8388608 2")).toBe(8_388_608);
    expect(of("0 0 0")).toBeNull();
    expect(pubsubLimit("")).toBeNull();
  });

  test("the nodes of a cluster are each named once", () => {
    const slots = [
      [0, 5, ["a", 1, "id", []], ["b", 2, "id", []]],
      [6, 9, ["b", 2, "id"], ["", 3, "id"]],
    ];
    expect(readSlots(slots)).toEqual([
      { host: "a", port: 1 },
      { host: "b", port: 2 },
    ]);
    expect(readSlots("x")).toEqual([]);
  });
});
