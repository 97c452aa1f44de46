import type { Driver } from "../../../src/bench/driver.ts";
import { publication } from "../../../src/bench/publisher.ts";
import { Client, textFrame } from "../../../src/bench/websocket-client.ts";

/** `{"id":2,...` answers; `{"push":...` is what comes by itself. */
const REPLY_MARK = 0x3a;
const LINE_END = 10;
/** An answer that waited behind other messages for the socket, in one message with them. */
const LATER_REPLY = Buffer.from('\n{"id":');
const CONNECT = textFrame('{"id":1,"connect":{}}');

/** Field 4, bytes: the data of a publication, as its Redis broker writes one without history. */
const DATA_FIELD = 0x22;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 127) | 128);
  }
}

/**
 * Centrifugo's JSON protocol, with its Redis engine under the standard prefix. Its clients connect without a name here, and its pings are
 * not answered: peers/centrifugo.ts has the settings for that.
 */
export const centrifugo: Driver = {
  name: "centrifugo",
  socketUrl(base) {
    const url = new URL(base);
    if (url.pathname === "/") url.pathname = "/connection/websocket";
    return url;
  },
  async connect(index, url) {
    const connected = Promise.withResolvers<Client>();
    const client = await Client.connect(index, url, () => connected.resolve(client));
    client.send(CONNECT);
    return connected.promise;
  },
  joinFrame: (topic, token) => textFrame(`{"id":2,"subscribe":{"channel":"${topic}","token":"${token}"}}`),
  // What somebody publishes comes back to them too, and most often before the answer.
  isReply: (client, bytes, start, end) =>
    client.mark === REPLY_MARK || bytes.subarray(start, end).includes(LATER_REPLY),
  isOk: (bytes, start, end) => !bytes.subarray(start, end).includes('"error"'),
  pushFrame: (topic, _event, payload) =>
    textFrame(`{"id":3,"publish":{"channel":"${topic}","data":${payload}}}`),
  answersPushes: true,
  publication(topic, _event, payload, times) {
    const message = Buffer.concat([Buffer.from([DATA_FIELD]), varint(payload.length), Buffer.from(payload)]);
    return publication(`centrifugo.client.${topic}`, message, times);
  },
  // `}` of the payload, of `pub`, of `push` and of the whole.
  bytesAfterStamp: 4,
  // What waited for a socket comes in one message, a line each.
  deliveriesIn(bytes, start, end) {
    let count = 1;
    for (let at = bytes.indexOf(LINE_END, start); at !== -1 && at < end - 1; ) {
      count++;
      at = bytes.indexOf(LINE_END, at + 1);
    }
    return count;
  },
};
