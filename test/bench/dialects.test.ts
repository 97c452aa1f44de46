import { expect, test } from "bun:test";
import { Deliveries } from "../../src/bench/deliveries.ts";
import type { Driver } from "../../src/bench/driver.ts";
import { paddedPayload } from "../../src/bench/payload.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { now, writeStamp } from "../../src/bench/stamp.ts";
import { Client } from "../../src/bench/websocket-client.ts";
import { centrifugo } from "./dialects/centrifugo.ts";
import { nchan } from "./dialects/nchan.ts";
import { socketIo } from "./dialects/socket-io.ts";
import { tangram } from "./dialects/tangram.ts";
import { groups } from "./groups.ts";

const payload = paddedPayload(60);
const sorted = payload.replace(/("pad":"x*"),("sent":\d+)/, "$1,$2");
const quoted = payload.replace(/"sent":(\d+)/, '"sent":"$1"');

/** Each dialect's frames: messages with a stamp, what a server says beside them, and how many deliveries it all is. */
const cases: readonly [Driver, messages: readonly string[], others: readonly string[], deliveries: number][] =
  [
    [
      phoenix,
      [`[null,null,"a","message",${payload}]`],
      [`[null,null,"a","presence_diff",{"joins":{},"leaves":{}}]`],
      1,
    ],
    [
      tangram,
      [`["1","7","a","message",${sorted}]`],
      [`["1","8","a","presence_diff",{"joins":{},"leaves":{}}]`],
      1,
    ],
    [groups, [payload], ['{"groups_current":["a-1"]}'], 1],
    [nchan, [payload], ["HTTP/1.1 101 Switching Protocols"], 1],
    [socketIo, [`42["message",${quoted}]`], ["2"], 1],
    [
      centrifugo,
      [[1, 2, 3].map(() => `{"push":{"channel":"a","pub":{"data":${payload}}}}`).join("\n")],
      ["{}"],
      3,
    ],
  ];

test("centrifugo: an answer is seen behind a publication that came with it", () => {
  const isReply = (text: string): boolean => {
    const client = new Client(0);
    client.mark = text.charCodeAt(5);
    return centrifugo.isReply(client, Buffer.from(text), 0, text.length);
  };
  const published = '{"push":{"channel":"a","pub":{"data":{}}}}';
  expect(isReply(`${published}\n{"id":3,"publish":{}}`)).toBe(true);
  expect(isReply('{"id":3,"publish":{}}')).toBe(true);
  expect(isReply(published)).toBe(false);
});

for (const [dialect, messages, others, expected] of cases) {
  test(`${dialect.name}: deliveries are counted and timed, and nothing else is`, () => {
    const client = new Client(0);
    const deliveries = new Deliveries(dialect, [client], 1);
    for (const text of [...messages, ...others]) {
      const bytes = Buffer.from(text);
      const at = bytes.lastIndexOf('"sent":');
      if (at !== -1) writeStamp(bytes, bytes.length - dialect.bytesAfterStamp, now() - 5000);
      client.onMessage(client, bytes, 0, bytes.length);
    }
    expect(deliveries.received).toBe(expected);
    expect(deliveries.latency.total).toBe(messages.length);
    // 5 ms ago, and however long the machine took since.
    expect(deliveries.latency.quantileMs(0.5)).toBeGreaterThan(4);
  });

  test(`${dialect.name}: what a backend sends has its stamp where it is overwritten`, () => {
    const { bytes, stampEnds, payload: one, stampEnd } = dialect.publication("a", "message", payload, 2);
    const stamp = now();
    for (const end of stampEnds) writeStamp(bytes, end, stamp);
    expect(bytes.toString("latin1").split(String(stamp))).toHaveLength(3);
    expect(one.toString("latin1", stampEnd - 12, stampEnd)).toMatch(/^\d{12}$/);
    const begins = dialect.intakeUrl === undefined ? "*3\r\n$7\r\nPUBLISH\r\n" : "POST /pub/a HTTP/1.1\r\n";
    expect(bytes.toString("latin1")).toStartWith(begins);
  });
}
