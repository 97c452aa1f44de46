import { describe, expect, test } from "bun:test";
import {
  binaryAsJson,
  type Codec,
  decodeBinary,
  encodeBinary,
  type Frame,
  type Malformed,
  V1,
  V2,
} from "../../../../src/protocols/phoenix/phoenix-codec.ts";
import { phoenixDecode, phoenixEncode } from "./phoenix-serializer.ts";

function good(decoded: Frame | Malformed): Frame {
  if ("malformed" in decoded) throw new Error(decoded.malformed);
  return decoded;
}

function binaryPush(fields: readonly (string | Uint8Array)[], data: Uint8Array = new Uint8Array()): Buffer {
  const parts = fields.map((field) => Buffer.from(field));
  return Buffer.concat([Buffer.of(0, ...parts.map(({ length }) => length)), ...parts, data]);
}

const long = "x".repeat(65);

describe("V2 text", () => {
  test.each<[string, Frame]>([
    [
      '["1","2","room:lobby","new_msg",{"body":"hi"}]',
      { joinRef: "1", ref: "2", topic: "room:lobby", event: "new_msg", payload: '{"body":"hi"}' },
    ],
    [
      '[null,"7","phoenix","heartbeat",{}]',
      { joinRef: null, ref: "7", topic: "phoenix", event: "heartbeat", payload: "{}" },
    ],
    ['[1,2,"t","e",null]', { joinRef: 1, ref: 2, topic: "t", event: "e", payload: "null" }],
    ['[0,-1,"t","e",[]]', { joinRef: 0, ref: -1, topic: "t", event: "e", payload: "[]" }],
    ['[null,null,"","",0]', { joinRef: null, ref: null, topic: "", event: "", payload: "0" }],
    [
      ' \n[ "1" ,\t"2" ,\r\n"t" , "e" , { "a" : 1.0 , "a" : 2 } ]\n ',
      { joinRef: "1", ref: "2", topic: "t", event: "e", payload: '{ "a" : 1.0 , "a" : 2 }' },
    ],
    [
      '["\\"","\\u0031","\\\\","e\\u006e","]"]',
      { joinRef: '"', ref: "1", topic: "\\", event: "en", payload: '"]"' },
    ],
    [
      '["\\ud800","1","\\udfff","e","\\ud83d"]',
      { joinRef: "\ud800", ref: "1", topic: "\udfff", event: "e", payload: '"\\ud83d"' },
    ],
    [
      `["${"x".repeat(64)}","${"é".repeat(32)}","t","e",1]`,
      { joinRef: "x".repeat(64), ref: "é".repeat(32), topic: "t", event: "e", payload: "1" },
    ],
    [
      '["1","2","t","e",{"n":12345678901234567890,"z":1e400,"s":"\\u00e9\\/"}]',
      {
        joinRef: "1",
        ref: "2",
        topic: "t",
        event: "e",
        payload: '{"n":12345678901234567890,"z":1e400,"s":"\\u00e9\\/"}',
      },
    ],
  ])("%s", (text, frame) => {
    expect(V2.decode(text)).toEqual(frame);
  });

  test.each([
    ["", "not JSON"],
    [" ", "not JSON"],
    ["[", "not JSON"],
    ['["1","2","t","e",{}]x', "not JSON"],
    ['["1","2","t","e",{},]', "not JSON"],
    ['\ufeff["1","2","t","e",{}]', "not JSON"],
    ['["1","2","t","e",{a:1}]', "not JSON"],
    ['["1","2","t","e","\u0000"]', "not JSON"],
    ['["1","2","t","e",NaN]', "not JSON"],
    ["{}", "not an array"],
    ["null", "not an array"],
    ['"[]"', "not an array"],
    ["5", "not an array"],
    ["[]", "not five elements"],
    ['["1","2","t","e"]', "not five elements"],
    ['["1","2","t","e",{},{}]', "not five elements"],
    ['[true,"2","t","e",{}]', "join_ref"],
    ['[{},"2","t","e",{}]', "join_ref"],
    [`["${long}","2","t","e",{}]`, "join_ref"],
    ['["1",false,"t","e",{}]', "ref is"],
    ['["1",[],"t","e",{}]', "ref is"],
    [`["1","${long}","t","e",{}]`, "ref is"],
    [`["1","${"é".repeat(33)}","t","e",{}]`, "ref is"],
    ['["1","2",null,"e",{}]', "topic"],
    ['["1","2",3,"e",{}]', "topic"],
    ['["1","2","t",null,{}]', "event"],
    ['["1","2","t",["e"],{}]', "event"],
  ])("%j is malformed: %s", (text, what) => {
    expect(V2.decode(text)).toEqual({ malformed: expect.stringContaining(what) });
  });

  test("what phoenix.js writes is read, and what is written it reads", () => {
    const message = { join_ref: "4", ref: "5", topic: "a:ü😀", event: "e", payload: { a: ["\u2028"] } };
    expect(good(V2.decode(String(phoenixEncode(message))))).toMatchObject({
      joinRef: "4",
      ref: "5",
      topic: "a:ü😀",
      event: "e",
    });
    const topic = JSON.stringify(message.topic);
    expect(phoenixDecode(V2.push("4", "5", topic, '"e"', '{"a":["\u2028"]}'))).toEqual(message);
    expect(phoenixDecode(`${V2.beforePayload(topic, '"e"')}1${V2.behindPayload}`)).toEqual({
      join_ref: null,
      ref: null,
      topic: message.topic,
      event: "e",
      payload: 1,
    });
  });
});

describe("V1 text", () => {
  test.each<[string, Frame]>([
    [
      '{"topic":"room:lobby","event":"new_msg","payload":{"body":"hi"},"ref":"2"}',
      { joinRef: null, ref: "2", topic: "room:lobby", event: "new_msg", payload: '{"body":"hi"}' },
    ],
    [
      '{"join_ref":"1","ref":"2","payload":[1, 2],"event":"e","topic":"t"}',
      { joinRef: "1", ref: "2", topic: "t", event: "e", payload: "[1, 2]" },
    ],
    [
      '{"topic":"t","event":"e","payload":null}',
      { joinRef: null, ref: null, topic: "t", event: "e", payload: "null" },
    ],
    [
      '{"topic":"t","event":"e","payload":1,"ref":7,"join_ref":3}',
      { joinRef: 3, ref: 7, topic: "t", event: "e", payload: "1" },
    ],
    [
      ' {\n"topic" : "t" ,\t"event":"e", "payload"\r\n:\n{ "x" : "}" } , "ref":null } ',
      { joinRef: null, ref: null, topic: "t", event: "e", payload: '{ "x" : "}" }' },
    ],
    [
      '{"topic":"t","event":"e","pay\\u006coad":{"a":1.0},"r\\u0065f":"9"}',
      { joinRef: null, ref: "9", topic: "t", event: "e", payload: '{"a":1.0}' },
    ],
    // Where a key comes twice the last one counts, for all fields alike, as for JSON.parse.
    [
      '{"topic":"a","payload":1,"event":"x","topic":"b","payload":{"l":2},"event":"y","ref":"1","ref":"2"}',
      { joinRef: null, ref: "2", topic: "b", event: "y", payload: '{"l":2}' },
    ],
    [
      '{"payload":1,"pay\\u006coad":2,"topic":"t","event":"e"}',
      { joinRef: null, ref: null, topic: "t", event: "e", payload: "2" },
    ],
    [
      '{"x":{"payload":0},"topic":"t","event":"e","payload":"\\"payload\\":3","y":{"payload":4}}',
      { joinRef: null, ref: null, topic: "t", event: "e", payload: '"\\"payload\\":3"' },
    ],
    [
      '{"__proto__":{"topic":"no","ref":"no"},"topic":"t","event":"e","payload":{"__proto__":1}}',
      { joinRef: null, ref: null, topic: "t", event: "e", payload: '{"__proto__":1}' },
    ],
  ])("%s", (text, frame) => {
    expect(V1.decode(text)).toEqual(frame);
  });

  test.each([
    ["", "not JSON"],
    ['{"topic":"t"', "not JSON"],
    ["[]", "not an object"],
    ["null", "not an object"],
    ["1", "not an object"],
    ['{"topic":"t","event":"e"}', "no payload"],
    ['{"topic":"t","event":"e","Payload":{}}', "no payload"],
    ['{"event":"e","payload":{}}', "topic"],
    ['{"topic":1,"event":"e","payload":{}}', "topic"],
    ['{"__proto__":{"topic":"t"},"event":"e","payload":{}}', "topic"],
    ['{"topic":"t","payload":{}}', "event"],
    ['{"topic":"t","event":"e","payload":{},"ref":true}', "ref is"],
    [`{"topic":"t","event":"e","payload":{},"ref":"${long}"}`, "ref is"],
    ['{"topic":"t","event":"e","payload":{},"join_ref":[]}', "join_ref"],
  ])("%j is malformed: %s", (text, what) => {
    expect(V1.decode(text)).toEqual({ malformed: expect.stringContaining(what) });
  });

  test("what is written has no join_ref", () => {
    expect(V1.push("1", 2, '"t"', '"e"', "{}")).toBe('{"topic":"t","event":"e","payload":{},"ref":2}');
    expect(`${V1.beforePayload('"t"', '"e"')}[1]${V1.behindPayload}`).toBe(
      '{"topic":"t","event":"e","payload":[1],"ref":null}',
    );
  });
});

describe.each<Codec>([V1, V2])("refs of version $version", (codec) => {
  const frame = (ref: string) =>
    codec.version === 2
      ? `[${ref},${ref},"t","e",{}]`
      : `{"topic":"t","event":"e","payload":{},"ref":${ref},"join_ref":${ref}}`;

  test.each(['"1"', '""', '"\\ud800"', '"\\"\\\\"', "1", "0", "-7", "9007199254740991", "null"])(
    "%s is answered as it came",
    (ref) => {
      const { joinRef, ref: decoded } = good(codec.decode(frame(ref)));
      const answer = codec.push(joinRef, decoded, '"t"', '"phx_reply"', "{}");
      expect(answer).toContain(codec.version === 2 ? `[${ref},${ref},` : `"ref":${ref}}`);
      expect(answer.isWellFormed()).toBe(true);
    },
  );

  test.each(["1e999", "-1e999", "12345678901234567890", "2.5"])(
    "%s cannot be answered as it came, and is malformed or kept as it is",
    (ref) => {
      const decoded = codec.decode(frame(ref));
      if ("malformed" in decoded) return;
      const answer = codec.push(decoded.joinRef, decoded.ref, '"t"', '"phx_reply"', "{}");
      expect(answer).toContain(codec.version === 2 ? `[${ref},${ref},` : `"ref":${ref}}`);
    },
  );
});

describe("binary", () => {
  test("a push is taken apart", () => {
    const data = Uint8Array.of(0, 255, 1);
    expect(decodeBinary(binaryPush(["1", "2", "room:ü", "évent"], data))).toEqual({
      joinRef: "1",
      ref: "2",
      topic: "room:ü",
      event: "évent",
      payload: Buffer.from(data),
    });
  });

  test("an empty join_ref or ref is none", () => {
    expect(decodeBinary(binaryPush(["", "", "t", "e"]))).toMatchObject({ joinRef: null, ref: null });
  });

  test("a byte order mark in a name is part of it, as in a text frame", () => {
    expect(decodeBinary(binaryPush(["1", "1", "\ufefft", "\ufeffe"]))).toMatchObject({
      topic: "\ufefft",
      event: "\ufeffe",
    });
  });

  test("a frame that lies within a larger buffer is read from its own start", () => {
    const frame = binaryPush(["1", "2", "topic", "event"], Buffer.from("data"));
    const around = Buffer.concat([Buffer.from("before"), frame, Buffer.from("after")]);
    expect(decodeBinary(around.subarray(6, 6 + frame.length))).toEqual(decodeBinary(frame));
  });

  test("topic and event of 255 bytes are read", () => {
    const name = "x".repeat(255);
    expect(decodeBinary(binaryPush(["1", "2", name, name]))).toMatchObject({ topic: name, event: name });
  });

  test.each<[string, Uint8Array]>([
    ["nothing", Buffer.alloc(0)],
    ["a kind alone", Buffer.of(0)],
    ["four bytes", Buffer.of(0, 0, 0, 0)],
    ["a reply", Buffer.of(1, 0, 0, 0, 0)],
    ["a broadcast", Buffer.of(2, 1, 1, 0x74, 0x65)],
    ["kind 255", Buffer.of(255, 0, 0, 0, 0)],
    ["a header that is cut", binaryPush(["1", "2", "topic", "event"]).subarray(0, 15)],
    ["lengths beyond the end", Buffer.of(0, 255, 255, 255, 255)],
    ["a topic that is no UTF-8", binaryPush(["1", "2", Buffer.of(0xff), "e"])],
    ["an event that is no UTF-8", binaryPush(["1", "2", "t", Buffer.of(0xed, 0xa0, 0x80)])],
    ["a ref of 65 bytes", binaryPush(["1", long, "t", "e"])],
    ["a join_ref of 65 bytes", binaryPush([long, "1", "t", "e"])],
  ])("%s is malformed", (_, bytes) => {
    expect(decodeBinary(bytes)).toEqual({ malformed: expect.any(String) });
  });

  test("a character that is cut by the end of its field is malformed", () => {
    expect(decodeBinary(binaryPush(["1", "2", Buffer.of(0x74, 0xc3), Buffer.of(0xa9)]))).toEqual({
      malformed: expect.any(String),
    });
    expect(decodeBinary(binaryPush([Buffer.of(0xf0, 0x9f), Buffer.of(0x98, 0x80), "t", "e"]))).toEqual({
      malformed: expect.any(String),
    });
  });

  test("what phoenix.js writes is read, and a broadcast it reads", () => {
    const payload = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
    const message = { join_ref: "10", ref: "11", topic: "a:ü", event: "e😀", payload: payload.buffer };
    const written = phoenixEncode(message);
    if (typeof written === "string") throw new Error("phoenix.js wrote text");
    expect(decodeBinary(new Uint8Array(written))).toEqual({
      joinRef: "10",
      ref: "11",
      topic: "a:ü",
      event: "e😀",
      payload,
    });
    expect(phoenixDecode(encodeBinary("a:ü", "e😀", payload))).toEqual({
      join_ref: "",
      ref: null,
      topic: "a:ü",
      event: "e😀",
      payload: payload.buffer,
    });
  });

  test("a broadcast with names of 255 bytes and no data is read by phoenix.js", () => {
    const name = "é".repeat(127);
    const read = phoenixDecode(encodeBinary(`${name}a`, `${name}b`, new Uint8Array()));
    expect(read).toMatchObject({ topic: `${name}a`, event: `${name}b` });
  });
});

describe("a binary payload as JSON", () => {
  test.each<[string, string]>([
    ["Hello from plugin", "Hello from plugin"],
    ["", ""],
    ['quo"te\\\n\u0000\u2028', 'quo"te\\\n\u0000\u2028'],
    ["\ufeff{}", "\ufeff{}"],
    ["é😀", "é😀"],
  ])("%j, which is UTF-8, is a string", (text, value) => {
    expect(JSON.parse(binaryAsJson(Buffer.from(text)))).toBe(value);
  });

  test("what is no UTF-8 is base64", () => {
    const bytes = Buffer.of(0, 255, 254, 62, 63);
    expect(JSON.parse(binaryAsJson(bytes))).toEqual({ base64: bytes.toString("base64") });
  });
});
