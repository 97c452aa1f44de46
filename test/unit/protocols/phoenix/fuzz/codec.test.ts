import { describe, expect, test } from "bun:test";
import { objectMembers, withoutMember } from "../../../../../src/hub/json/members.ts";
import {
  decodeBinary,
  encodeBinary,
  type Frame,
  type Malformed,
  V1,
  V2,
} from "../../../../../src/protocols/phoenix/phoenix-codec.ts";
import { phoenixDecode, phoenixEncode } from "../phoenix-serializer.ts";
import { jsonText, space, stringText } from "./json-text.ts";
import { Random } from "./random.ts";

/** How many inputs there are, all tests together. */
const INPUTS = Math.max(100, Math.floor(Number(process.env.CHANNEL_FUZZ ?? 100_000)) || 100_000);
const SEED = Math.floor(Number(process.env.CHANNEL_FUZZ_SEED ?? 20_261_121)) || 1;
const SHARE = Math.ceil(INPUTS / 5);
const TIMEOUT = 10_000 + INPUTS;

const encoder = new TextEncoder();

function isRef(value: unknown): boolean {
  if (value === null || Number.isSafeInteger(value)) return true;
  return typeof value === "string" && encoder.encode(value).length <= 64;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What `V2.decode` has to find, the payload as a value, by means of `JSON.parse` alone; `null`: malformed. */
function expectedV2(text: string): unknown[] | null {
  const value = parsed(text);
  if (!Array.isArray(value) || value.length !== 5) return null;
  const [joinRef, ref, topic, event] = value;
  return isRef(joinRef) && isRef(ref) && typeof topic === "string" && typeof event === "string"
    ? value
    : null;
}

function expectedV1(text: string): unknown[] | null {
  const value = parsed(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const field = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  const joinRef = field("join_ref") ?? null;
  const ref = field("ref") ?? null;
  const [topic, event, payload] = [field("topic"), field("event"), field("payload")];
  if (payload === undefined || typeof topic !== "string" || typeof event !== "string") return null;
  return isRef(joinRef) && isRef(ref) ? [joinRef, ref, topic, event, payload] : null;
}

function found(decoded: Frame | Malformed): unknown[] | null {
  if ("malformed" in decoded) return null;
  const { joinRef, ref, topic, event, payload } = decoded;
  if (typeof payload !== "string") throw new Error("text has a payload of text");
  return [joinRef, ref, topic, event, JSON.parse(payload)];
}

/** Fast for equal texts, a full comparison for different ones. */
function same(input: string, got: unknown, expected: unknown): void {
  // JSON has no -0 and no infinity; what both sides parsed from one text agrees in print, or differs.
  if (JSON.stringify(got) === JSON.stringify(expected)) return;
  expect({ input, got }).toEqual({ input, got: expected });
}

function refText(random: Random): string {
  return random.pick(["null", '"1"', '"42"', "7", "0", '""', '"\\u0031"', '"é"', '"\\ud800"']);
}

interface Written {
  readonly text: string;
  readonly payload: string;
}

function writtenV2(random: Random): Written {
  const payload = jsonText(random);
  const fields = [refText(random), refText(random), stringText(random), stringText(random), payload];
  const inner = fields.map((field) => `${space(random)}${field}${space(random)}`).join(",");
  return { text: `${space(random)}[${inner}]${space(random)}`, payload };
}

function writtenV1(random: Random): Written {
  const payload = jsonText(random);
  const key = random.pick(['"payload"', '"payload"', '"pay\\u006coad"', '"\\u0070ayload"']);
  const last = `${key}${space(random)}:${space(random)}${payload}`;
  const members = [`"topic":${stringText(random)}`, `"event" : ${stringText(random)}`];
  if (random.chance(70)) members.push(`"ref":${refText(random)}`);
  if (random.chance(50)) members.push(`"join_ref":\n${refText(random)}`);
  if (random.chance(30)) members.push(`"x":${jsonText(random, 2)}`);
  members.splice(random.next(members.length + 1), 0, last);
  // Of two payloads the last one counts: here it is the one to be found.
  if (random.chance(20))
    members.splice(random.next(members.indexOf(last) + 1), 0, `"payload":${jsonText(random, 2)}`);
  const inner = members.map((member) => `${space(random)}${member}${space(random)}`).join(",");
  return { text: `${space(random)}{${inner}}${space(random)}`, payload };
}

const GARBAGE = [
  '"',
  "\\",
  "[",
  "]",
  "{",
  "}",
  ",",
  ":",
  " ",
  "\u0000",
  "\n",
  "0",
  "-",
  ".",
  "e",
  "null",
  "é",
  "\ud800",
  "\ufeff",
  "\u00a0",
] as const;

/** A frame with a few of its characters lost, doubled, swapped or replaced. */
function mutated(random: Random, text: string): string {
  let result = text;
  for (let changes = 1 + random.next(3); changes > 0; changes--) {
    const at = random.next(result.length + 1);
    const until = at + random.next(4);
    const put = random.chance(60) ? random.pick(GARBAGE) : result.slice(until, until + random.next(8));
    result = result.slice(0, at) + put + result.slice(random.chance(50) ? at : until);
  }
  return result;
}

describe(`codecs, ${INPUTS} inputs from seed ${SEED}`, () => {
  test(
    "the payload of a V2 frame is the text that was put in",
    () => {
      const random = new Random(SEED);
      for (let i = 0; i < SHARE; i++) {
        const { text, payload } = writtenV2(random);
        const decoded = V2.decode(text);
        if ("malformed" in decoded || decoded.payload !== payload)
          expect({ text, decoded }).toEqual({ text, decoded: expect.objectContaining({ payload }) });
        same(text, found(decoded), expectedV2(text));
      }
    },
    TIMEOUT,
  );

  test(
    "the payload of a V1 frame is the text that was put in",
    () => {
      const random = new Random(SEED + 1);
      for (let i = 0; i < SHARE; i++) {
        const { text, payload } = writtenV1(random);
        const decoded = V1.decode(text);
        if ("malformed" in decoded || decoded.payload !== payload)
          expect({ text, decoded }).toEqual({ text, decoded: expect.objectContaining({ payload }) });
        same(text, found(decoded), expectedV1(text));
      }
    },
    TIMEOUT,
  );

  test(
    "of garbage exactly that is taken which JSON.parse and the rules take, and nothing throws",
    () => {
      const random = new Random(SEED + 2);
      let taken = 0;
      for (let i = 0; i < SHARE; i++) {
        const one = random.chance(50);
        const text = mutated(random, (one ? writtenV1(random) : writtenV2(random)).text);
        const [v1, v2] = [V1.decode(text), V2.decode(text)];
        if (!("malformed" in v1) || !("malformed" in v2)) taken++;
        same(text, found(v1), expectedV1(text));
        same(text, found(v2), expectedV2(text));
      }
      // Garbage that is all refused, or all taken, would prove nothing.
      expect(taken).toBeGreaterThan(SHARE / 100);
      expect(taken).toBeLessThan(SHARE * 0.9);
    },
    TIMEOUT,
  );

  test(
    "an object loses its token and nothing else",
    () => {
      const random = new Random(SEED + 3);
      for (let i = 0; i < SHARE; i++) {
        const members = random.times(5, () => ({
          key: random.chance(30)
            ? random.pick(['"token"', '"tok\\u0065n"', '"\\u0074oken"'])
            : stringText(random),
          value: `${random.chance(50) ? " " : ""}:${space(random)}${jsonText(random, 3)}`,
        }));
        const inner = members
          .map(({ key, value }) => `${space(random)}${key}${value}${space(random)}`)
          .join(",");
        const text = `{${inner}}`;
        const kept = members
          .filter(({ key }) => JSON.parse(key) !== "token")
          .map(({ key, value }) => key + value);
        const expected = kept.length === members.length ? text : `{${kept.join(",")}}`;
        if (withoutMember(text, "token") !== expected)
          expect({ text, got: withoutMember(text, "token") }).toEqual({ text, got: expected });
        same(
          text,
          objectMembers(text).map(({ key }) => key),
          members.map(({ key }) => JSON.parse(key)),
        );
      }
    },
    TIMEOUT,
  );

  test(
    "binary frames go both ways between phoenix.js and this codec, and garbage is taken apart as a reader of bytes would",
    () => {
      const random = new Random(SEED + 4);
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      const text = () =>
        random.times(8, () => random.pick(["a", ":", "é", "😀", "\ufeff", " ", "\u0000"])).join("");
      for (let i = 0; i < SHARE; i++) {
        const payload = Uint8Array.from(random.times(20, () => random.next(256)));
        const message = {
          join_ref: text(),
          ref: text(),
          topic: text(),
          event: text(),
          payload: payload.buffer,
        };
        const frame = phoenixEncode(message);
        if (typeof frame === "string") throw new Error("phoenix.js wrote text");
        const bytes = new Uint8Array(frame);
        const pushed = decodeBinary(bytes);
        if ("malformed" in pushed) throw new Error(`${pushed.malformed}: ${bytes.toHex()}`);
        expect([pushed.joinRef ?? "", pushed.ref ?? "", pushed.topic, pushed.event]).toEqual([
          message.join_ref,
          message.ref,
          message.topic,
          message.event,
        ]);
        expect(Buffer.from(pushed.payload).equals(payload)).toBe(true);

        const read = phoenixDecode(encodeBinary(message.topic, message.event, payload));
        // phoenix.js' TextDecoder takes a byte order mark off the front of a name.
        const bare = (name: string) => name.replace(/^\ufeff/, "");
        expect([read.topic, read.event, read.payload]).toEqual([
          bare(message.topic),
          bare(message.event),
          payload.buffer,
        ]);

        for (let changes = random.next(4); changes > 0; changes--)
          bytes[random.next(bytes.length)] = random.next(random.chance(50) ? 256 : 12);
        const cut = bytes.subarray(random.next(2), bytes.length - random.next(3));
        const decoded = decodeBinary(cut);
        let expected: (string | null)[] | null = null;
        const [kind, ...sizes] = cut.subarray(0, 5);
        const end = 5 + sizes.reduce((sum, size) => sum + size, 0);
        if (kind === 0 && sizes.length === 4 && cut.length >= end) {
          try {
            let at = 5;
            const fields = sizes.map((size) => {
              at += size;
              return decoder.decode(cut.subarray(at - size, at));
            });
            if ((sizes[0] ?? 0) <= 64 && (sizes[1] ?? 0) <= 64)
              expected = [
                fields[0] || null,
                fields[1] || null,
                fields[2] ?? "",
                fields[3] ?? "",
                cut.subarray(end).toHex(),
              ];
          } catch {
            // No UTF-8: malformed.
          }
        }
        const got =
          "malformed" in decoded
            ? null
            : [
                decoded.joinRef,
                decoded.ref,
                decoded.topic,
                decoded.event,
                Buffer.from(decoded.payload).toString("hex"),
              ];
        same(cut.toHex(), got, expected);
      }
    },
    TIMEOUT,
  );
});
