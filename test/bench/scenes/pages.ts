import { pace } from "../../../src/bench/deliveries.ts";
import { aircraftPayload } from "../payloads.ts";
import type { Scene } from "../scene.ts";
import { playMessages } from "./messages.ts";

const PAGES = 100;
const BYTES = 200_000;

export const pages: Scene = {
  name: "pages",
  title: "100 pages, each its own channel, 200 KB of aircraft a second each",
  unit: "delivery",
  play: (stage) => {
    const messages = Array.from({ length: PAGES }, (_, i) =>
      stage.dialect.publication(`streaming-${i}`, "new-jet1090-data", aircraftPayload(BYTES, i)),
    );
    return playMessages(stage, {
      clients: PAGES,
      topic: (index) => `streaming-${index}`,
      stampEvery: 1,
      warmUpSeconds: stage.short ? 1 : 3,
      seconds: stage.quick ? 2 : stage.short ? 3 : 15,
      send: (deliveries, publisher, seconds) => pace(deliveries, publisher, messages, PAGES, 1, seconds),
    });
  },
};
