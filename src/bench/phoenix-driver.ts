import type { Driver } from "./driver.ts";
import { publication } from "./publisher.ts";
import { Client, textFrame } from "./websocket-client.ts";

/** `["1","1",...` is a reply; `["1",null,...` and `[null,null,...` are pushes of the server. */
const REPLY_MARK = 0x22;
const OK = '"status":"ok"';

/** Phoenix V2 with backends that publish on `to:<topic>:<event>`. Refs are constant: replies need not be distinguished. */
export const phoenix: Driver = {
  name: "phoenix",
  socketUrl(base) {
    const url = new URL(base);
    if (url.pathname === "/") url.pathname = "/websocket";
    url.searchParams.set("vsn", "2.0.0");
    return url;
  },
  connect: (index, url) => Client.connect(index, url),
  joinFrame: (topic, token) => textFrame(`["1","1","${topic}","phx_join",{"token":"${token}"}]`),
  isReply: (client) => client.mark === REPLY_MARK,
  isOk: (bytes, start, end) => bytes.subarray(start, end).includes(OK),
  pushFrame: (topic, event, payload) => textFrame(`["1","2","${topic}","${event}",${payload}]`),
  answersPushes: true,
  publication: (topic, event, payload, times) =>
    publication(`to:${topic}:${event}`, Buffer.from(payload), times),
  // `}` of the payload and `]` of the frame.
  bytesAfterStamp: 2,
};
