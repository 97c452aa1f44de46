import { pace } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

const CLIENTS = 1000;
const PER_SECOND = 20_000;

export const ownChannels: Scene = {
  name: "own-channels",
  title: "1,000 clients, each its own channel, 100 B, 20 messages a second each",
  unit: "delivery",
  play: (stage) => {
    const messages = Array.from({ length: CLIENTS }, (_, i) =>
      stage.dialect.publication(`own-${i}`, "message", paddedPayload(100)),
    );
    return playMessages(stage, {
      clients: CLIENTS,
      topic: (index) => `own-${index}`,
      stampEvery: 1,
      warmUpSeconds: stage.short ? 1 : 3,
      seconds: stage.short ? 2 : 8,
      send: (deliveries, publisher, seconds) => pace(deliveries, publisher, messages, PER_SECOND, 1, seconds),
    });
  },
};
