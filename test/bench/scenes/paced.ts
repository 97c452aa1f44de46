import { pace } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

const MEMBERS = 1000;
const PER_SECOND = 50;

export const paced: Scene = {
  name: "paced",
  title: "1 channel, 1,000 members, 100 B, 50 messages a second",
  unit: "delivery",
  play: (stage) => {
    const message = stage.dialect.publication("bench", "message", paddedPayload(100));
    return playMessages(stage, {
      clients: MEMBERS,
      topic: () => "bench",
      stampEvery: 1,
      warmUpSeconds: stage.short ? 0.5 : 2,
      seconds: stage.short ? 2 : 8,
      send: (deliveries, publisher, seconds) =>
        pace(deliveries, publisher, [message], PER_SECOND, MEMBERS, seconds),
    });
  },
};
