import { flood } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

/** Messages on their way at most: enough that the server never waits, few enough that they are under 30 MB for all. */
const IN_FLIGHT = 200;
const BATCH = 50;

export const fanOut: Scene = {
  name: "fan-out",
  title: "1 channel, 1,000 members, 100 B, as fast as it goes",
  unit: "delivery",
  play: (stage) => {
    const batch = stage.dialect.publication("bench", "message", paddedPayload(100), BATCH);
    return playMessages(stage, {
      clients: 1000,
      topic: () => "bench",
      stampEvery: 16,
      warmUpSeconds: stage.quick ? 0.5 : stage.short ? 1 : 2,
      seconds: stage.short ? 1.5 : 8,
      send: (deliveries, publisher, seconds) => flood(deliveries, publisher, batch, IN_FLIGHT, seconds),
    });
  },
};
