import { pace } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

const MEMBERS = 1000;

export const paced = pacedScene("paced", 50);

/** Most of what one core takes, where a generator has another one. */
export const steady = pacedScene("steady", 200);

function pacedScene(name: string, perSecond: number): Scene {
  return {
    name,
    title: `1 channel, 1,000 members, 100 B, ${perSecond} messages a second`,
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
          pace(deliveries, publisher, [message], perSecond, MEMBERS, seconds),
      });
    },
  };
}
