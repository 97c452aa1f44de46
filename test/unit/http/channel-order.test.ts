import { expect, test } from "bun:test";
import { ChannelOrder } from "../../../src/http/api/channel-order.ts";
import { EXAMPLE_CHANNEL } from "../../../src/http/api/channel-row.ts";

test("by activity, channels with the highest rate and the newest message come first, permanent ones last", () => {
  const order = new ChannelOrder([{ pattern: "room:*" }, { pattern: "lobby" }]);
  const rows = [
    ["system", 100, 9],
    ["quiet", 0, 1],
    ["lobby", 50, 8],
    ["busy", 20, 2],
    ["never", 0, null],
    ["room:1", 3, 3],
    ["lately", 0, 7],
  ] as const;
  const sorted = (direction?: "asc") =>
    rows
      .map(([name, rate, last_active]) => ({ ...EXAMPLE_CHANNEL, name, rate, last_active }))
      .sort(order.rows("activity", direction))
      .map(({ name }) => name);
  expect(sorted()).toEqual(["busy", "room:1", "lately", "quiet", "never", "system", "lobby"]);
  expect(sorted("asc")).toEqual(["never", "quiet", "lately", "room:1", "busy", "lobby", "system"]);
});
