import type { Driver } from "../../../src/bench/driver.ts";
import { phoenix } from "../../../src/bench/phoenix-driver.ts";

/** How far into a frame its event stands at most: the scenes' topics are short. */
const HEAD = 120;
const REPLY = '"phx_reply"';

/** As Tangram's own service speaks it: what it sends by itself bears refs too, payloads come printed anew, pushes are not answered. */
export const tangram: Driver = {
  ...phoenix,
  name: "tangram",
  isReply: (_client, bytes, start, end) => bytes.subarray(start, Math.min(end, start + HEAD)).includes(REPLY),
  answersPushes: false,
};
