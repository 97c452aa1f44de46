import type { Driver } from "../../../src/bench/driver.ts";
import { httpPublication } from "../../../src/bench/publisher.ts";
import { Client, isUpgraded, upgradeRequest } from "../../../src/bench/websocket-client.ts";

/** `HTTP/1.1 ...` answers the upgrade; messages are the bare payload, which is JSON. */
const REPLY = 0x48;

/**
 * Nchan under the locations of peers/nchan.ts: the address of a WebSocket names its channel, so the upgrade is the join; backends
 * publish by HTTP, since Nchan does not listen to a PUBLISH of others. It checks no token and answers no push.
 */
export const nchan: Driver = {
  name: "nchan",
  socketUrl: (base) => new URL(base),
  connect: (index, url) => Client.open(index, url),
  joinFrame: (topic) => upgradeRequest(`/sub/${topic}`, "localhost"),
  isReply: (_client, bytes, start) => bytes[start] === REPLY,
  isOk: (bytes, start) => isUpgraded(bytes, start),
  pushFrame: () => {
    throw new Error("nchan: there are no pushes");
  },
  answersPushes: false,
  intakeUrl(base) {
    const url = new URL(base);
    return `http://${url.host}`;
  },
  publication: (topic, _event, payload, times) =>
    httpPublication(`/pub/${topic}`, Buffer.from(payload), times),
  // `}` of the payload.
  bytesAfterStamp: 1,
};
