import { afterAll, expect, test } from "bun:test";
import { Latency } from "../../src/bench/latency.ts";
import { paddedPayload } from "../../src/bench/payload.ts";
import { publication } from "../../src/bench/publisher.ts";
import { BLANK_STAMP, now, readStamp, writeStamp } from "../../src/bench/stamp.ts";
import { Client, textFrame, upgradeRequest } from "../../src/bench/websocket-client.ts";

/** The first byte of a ping. */
const PING = 0x89;

/** A server that answers the handshake, sends `pieces`, waits for the answer to a ping among them, and closes. */
const pieces: Buffer[] = [];
const heard: Buffer[] = [];
const server = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    async data(socket, bytes) {
      heard.push(bytes);
      if (!bytes.includes("Upgrade")) return;
      socket.setNoDelay(true);
      socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
      for (const piece of pieces) {
        // One turn of the loop between two pieces, so that they are read apart.
        await Bun.sleep(1);
        socket.write(piece);
      }
      // What comes after the end is not read.
      const pings = pieces.some((piece) => piece[0] === PING);
      for (let turns = 0; pings && heard.length < 2 && turns < 10_000; turns++) await Bun.sleep(1);
      socket.end();
    },
  },
});
afterAll(() => server.stop(true));

const url = new URL(`ws://127.0.0.1:${server.port}/websocket`);

function serverFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

interface Seen {
  readonly text: string;
  readonly mark: number;
}

async function receive(cut: Buffer[]): Promise<Seen[]> {
  pieces.splice(0, pieces.length, ...cut);
  const seen: Seen[] = [];
  const client = await Client.connect(0, url, (client, bytes, start, end) => {
    seen.push({ text: bytes.toString("latin1", start, end), mark: client.mark });
  });
  while (!client.closed) await Bun.sleep(1);
  expect(client.received).toBe(seen.length);
  return seen;
}

const messages = ["", "abcdefg", "x".repeat(125), `01234Z${"y".repeat(300)}`, "[n]"];
const stream = Buffer.concat(messages.map((text) => serverFrame(1, Buffer.from(text))));
const expected = messages.map((text) => ({ text, mark: text.length > 5 ? text.charCodeAt(5) : 0 }));

test("messages are told apart wherever the stream is cut in two", async () => {
  for (let at = 0; at < stream.length; at += at < 20 || at > 128 ? 1 : 9) {
    expect(await receive([stream.subarray(0, at), stream.subarray(at)])).toEqual(expected);
  }
}, 20_000);

test("messages are told apart when every byte comes alone", async () => {
  const bytes = Array.from(stream.subarray(0, 200), (_, i) => stream.subarray(i, i + 1));
  expect(await receive([...bytes, stream.subarray(200)])).toEqual(expected);
});

test("of a long message in several reads the end and the mark are seen", async () => {
  const long = `01234Z${"y".repeat(200_000)}END`;
  const frame = serverFrame(1, Buffer.from(long));
  const cuts = [0, 1, 9, 14, 17, 5000, 100_000, frame.length - 4, frame.length];
  const parts = cuts.slice(1).map((cut, i) => frame.subarray(cuts[i], cut));
  const [seen] = await receive([...parts, serverFrame(1, Buffer.from("after it"))]);
  expect(seen?.mark).toBe("Z".charCodeAt(0));
  expect(seen?.text.endsWith("END")).toBe(true);
});

test("the response to an upgrade that the caller sends is the first message", async () => {
  pieces.splice(0, pieces.length, stream);
  const seen: string[] = [];
  const client = await Client.open(0, url);
  client.onMessage = (_client, bytes, start, end) => {
    seen.push(bytes.toString("latin1", start, end));
  };
  client.send(upgradeRequest("/sub/a", url.host));
  while (!client.closed) await Bun.sleep(1);
  expect(seen).toEqual(["HTTP/1.1 101 Switching Protocols", ...messages]);
  expect(client.received).toBe(seen.length);
});

test("a ping is answered with its payload and is no message", async () => {
  heard.length = 0;
  expect(await receive([serverFrame(9, Buffer.from("life")), serverFrame(1, Buffer.from("m"))])).toEqual([
    { text: "m", mark: 0 },
  ]);
  const pong = Buffer.concat(heard.slice(1));
  expect(pong[0]).toBe(0x8a);
  expect(pong[1]).toBe(0x80 | 4);
  const mask = pong.subarray(2, 6);
  const payload = pong.subarray(6, 10).map((byte, i) => byte ^ (mask[i & 3] ?? 0));
  expect(Buffer.from(payload).toString()).toBe("life");
});

test("what is sent is masked text", () => {
  const frame = textFrame("héllo");
  expect(frame[0]).toBe(0x81);
  expect(frame[1]).toBe(0x80 | 6);
  const mask = frame.subarray(2, 6);
  const payload = frame.subarray(6).map((byte, i) => byte ^ (mask[i & 3] ?? 0));
  expect(Buffer.from(payload).toString()).toBe("héllo");
});

test("a stamp is read back from the end of each message of a publication", () => {
  const { bytes, stampEnds } = publication("to:a:b", Buffer.from(paddedPayload(100)), 3);
  const stamp = now();
  for (const end of stampEnds) writeStamp(bytes, end, stamp);
  const texts = bytes.toString().match(/\{"pad.*\}/g) ?? [];
  expect(texts).toHaveLength(3);
  for (const text of texts) {
    expect(text).toHaveLength(100);
    expect(JSON.parse(text)).toMatchObject({ sent: stamp });
    expect(readStamp(Buffer.from(text), text.length - 1)).toBe(stamp);
  }
  expect(String(stamp)).toHaveLength(BLANK_STAMP.length);
});

test("quantiles are right to two percent", () => {
  const latency = new Latency();
  for (let us = 1; us <= 100_000; us++) latency.record(us);
  for (const share of [0.0005, 0.5, 0.99, 1]) {
    const exact = share * 100;
    expect(Math.abs((latency.quantileMs(share) ?? 0) - exact)).toBeLessThan(exact * 0.02);
  }
  expect(new Latency().quantileMs(0.5)).toBeNull();
});
