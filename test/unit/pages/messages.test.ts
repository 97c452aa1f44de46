/** Filters and files of the message list, which the pages share. */
import { describe, expect, test } from "bun:test";
import { csv, jsonLines } from "../../../public/shared/download.ts";
import { condition, parseFilter } from "../../../public/shared/message-filter.ts";
import type { StreamMessage } from "../../../public/shared/message-text.ts";

const PUSHED: StreamMessage = {
  at: Date.UTC(2030, 0, 1),
  channel: "room:1",
  event: "say",
  direction: "from",
  by: "x7Kq:room:1:1",
  user: "alice smith",
  payload: { text: '{"text":"Hello, World","n":12345678901234567890}' },
  size: 48,
  truncated: false,
};
const SENT: StreamMessage = {
  ...PUSHED,
  direction: "to",
  event: "update",
  by: "",
  user: "",
  payload: { bytes: new Uint8Array([0, 255, 65]) },
  size: 3,
};

describe("a filter", () => {
  const found = (text: string): string => {
    const filter = parseFilter(text);
    return [PUSHED, SENT]
      .filter((each) => filter === null || filter(each))
      .map(({ event }) => event)
      .join(" ");
  };

  test.each([
    ["", "say update"],
    ["   ", "say update"],
    ["event:SAY", "say"],
    ["event:sa", "say"],
    ["direction:in", "say"],
    ["direction:from", "say"],
    ["direction:out", "update"],
    ["sender:alice", "say"],
    ['sender:"alice smith"', "say"],
    ["sender:x7Kq", "say"],
    ["sender:backend", "update"],
    ["channel:room:1", "say update"],
    ["channel:other", ""],
    ["-event:say", "update"],
    ["hello world", "say"],
    ['"hello, world"', "say"],
    ["hello other", ""],
    ["room:1 event:update", "update"],
    // Quotes inside of a word are text, and a field without a value is still being typed.
    ['"n":123', "say"],
    ["event:", "say update"],
    ["other:say", ""],
    ["-", ""],
    ['"', "say"],
  ])("%p matches %p", (text, expected) => {
    expect(found(text)).toBe(expected);
  });

  test("finds what its own condition names, whatever that is", () => {
    for (const event of ["say", "two words", "a:b", '"', 'x"y', '"x"', "-x", 'two "words"', '" "']) {
      const filter = parseFilter(condition("event", event));
      expect(filter?.({ ...PUSHED, event }) ?? true).toBe(true);
    }
  });
});

describe("a download", () => {
  test("as JSON lines keeps the digits of numbers, and the kind of the payload", () => {
    const pretty = { ...PUSHED, payload: { text: '{\n  "a": 1.0\n}' } };
    const cut = { ...PUSHED, payload: { text: '{"a": "b' }, truncated: true };
    const lines = jsonLines([PUSHED, SENT, pretty, cut]).trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[0]).toEndWith(`"payload":${"text" in PUSHED.payload ? PUSHED.payload.text : ""}}`);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      at: "2030-01-01T00:00:00.000Z",
      direction: "from",
      channel: "room:1",
      event: "say",
      sender: "alice smith",
      agent: "x7Kq:room:1:1",
      size: 48,
      truncated: false,
      payload: { text: "Hello, World" },
    });
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({ sender: "backend", base64: "AP9B" });
    expect(JSON.parse(lines[2] ?? "").payload).toEqual({ a: 1 });
    expect(JSON.parse(lines[3] ?? "")).toMatchObject({ truncated: true, text: '{"a": "b' });
  });

  test("as CSV quotes what it must, and no cell is a formula", () => {
    const evil = { ...PUSHED, event: "=1+1", user: "@SUM(A1)", payload: { text: "-5" } };
    const breaks = { ...PUSHED, payload: { text: '"a\nb"' } };
    expect(csv([PUSHED, evil, breaks, SENT])).toBe(
      [
        "at,direction,channel,event,sender,size,truncated,payload\r\n",
        '2030-01-01T00:00:00.000Z,from,room:1,say,alice smith,48,false,"{""text"":""Hello, World"",""n"":12345678901234567890}"\r\n',
        "2030-01-01T00:00:00.000Z,from,room:1,'=1+1,'@SUM(A1),48,false,-5\r\n",
        '2030-01-01T00:00:00.000Z,from,room:1,say,alice smith,48,false,"""a\nb"""\r\n',
        "2030-01-01T00:00:00.000Z,to,room:1,update,backend,3,false,00 ff 41\r\n",
      ].join(""),
    );
  });
});
