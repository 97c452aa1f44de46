import { describe, expect, test } from "bun:test";
import { RespReader } from "../../../src/bus/embedded/resp-reader.ts";
import { randomFrom, SEED } from "../../integration/random.ts";
import { request } from "../../integration/resp-client.ts";

/** Reads pieces. Returns the requests as latin1 text, and the fault. */
function readAll(pieces: readonly Buffer[], maxBulk = 1000) {
  const reader = new RespReader({ maxBulk });
  const commands: string[][] = [];
  for (const piece of pieces) {
    const fault = reader.read(piece, (strings) => {
      commands.push(strings.map((string) => string.toString("latin1")));
      return true;
    });
    // The socket may reuse the buffer of a piece.
    piece.fill(0x21);
    if (fault !== null) return { commands, fault };
  }
  return { commands, fault: null };
}

function cut(bytes: Buffer, lengths: () => number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + Math.max(1, lengths());
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return pieces;
}

describe("requests of the Redis protocol", () => {
  test("are the same in whatever pieces they arrive", () => {
    const random = randomFrom(SEED);
    for (let round = 0; round < 300; round++) {
      const commands = Array.from({ length: random.int(6) }, () =>
        Array.from({ length: 1 + random.int(5) }, () =>
          String.fromCharCode(
            ...Array.from({ length: random.int(40) }, () => random.pick([10, 13, 36, 42, 48, 0, 255])),
          ),
        ),
      );
      const bytes = Buffer.from(commands.map((words) => request(...words)).join(""), "latin1");
      const most = 1 + random.int(60);
      expect(readAll(cut(bytes, () => random.int(most)))).toEqual({ commands, fault: null });
      expect(readAll(cut(bytes, () => 1))).toEqual({ commands, fault: null });
    }
  });

  test("a fault is the same in whatever pieces it arrives, and what came before is read", () => {
    const random = randomFrom(SEED);
    const faults = [
      "*x\r\n",
      "*1\r\n$1001\r\n",
      "*1\r\n$1\r\nab\r\n",
      "PING\r\n",
      "*1\r\n*1\r\n",
      "*-1\r\n",
      "*1\rx",
    ];
    for (const text of faults) {
      const bytes = Buffer.from(request("a", "b") + text + request("never"), "latin1");
      const whole = readAll([Buffer.from(bytes)]);
      expect(whole.commands).toEqual([["a", "b"]]);
      expect(whole.fault).not.toBeNull();
      for (let round = 0; round < 20; round++)
        expect(readAll(cut(bytes, () => random.int(9)))).toEqual(whole);
    }
  });

  test("no bytes make it throw, or read past a fault", () => {
    const random = randomFrom(SEED);
    const parts = [
      "*",
      "$",
      "1",
      "2",
      "\r\n",
      "\r",
      "\n",
      "-",
      "x",
      "*1\r\n",
      "$1\r\n",
      "$0\r\n\r\n",
      "\0",
      "9".repeat(12),
    ];
    for (let round = 0; round < 20_000; round++) {
      const text = Array.from({ length: random.int(12) }, () => random.pick(parts)).join("");
      const { commands } = readAll(cut(Buffer.from(text, "latin1"), () => random.int(8)));
      for (const words of commands) expect(words.length).toBeGreaterThan(0);
    }
  });

  test("a large bulk that arrives in small pieces costs no more than its bytes", () => {
    const size = 64 * 1024 * 1024;
    const bytes = Buffer.from(request("PUBLISH", "a", "x".repeat(size)), "latin1");
    const reader = new RespReader({ maxBulk: size });
    let length = 0;
    const begin = performance.now();
    for (let at = 0; at < bytes.length; at += 4096) {
      reader.read(bytes.subarray(at, at + 4096), (strings) => {
        length = strings[2]?.length ?? 0;
        return true;
      });
    }
    expect(length).toBe(size);
    // Joining all pieces again for each would copy 512 GiB.
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  test("no request is delivered after the callback returned false", () => {
    const reader = new RespReader({ maxBulk: 100 });
    let received = 0;
    reader.read(Buffer.from(request("QUIT") + request("PING")), () => ++received > 100);
    expect(received).toBe(1);
  });
});
